/** npm passes on to its child what the terminal has sent to both: what comes so soon after the first is the same wish. */
const SAME_WISH_MS = 500

/** SIGINT and SIGTERM alike: the first stops in peace, the second at once. */
export function onStopSignal({ first, second }: { first: () => void; second: () => void }): void {
  let firstAt: number | undefined
  const receive = (): void => {
    if (firstAt === undefined) {
      firstAt = performance.now()
      first()
    } else if (performance.now() - firstAt > SAME_WISH_MS) second()
  }
  process.on('SIGINT', receive)
  process.on('SIGTERM', receive)
}
