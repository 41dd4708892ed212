import type { ExitCode } from '../exit-codes.js'

/** The simulator is a program of its own that reads `process.argv` and ends the process itself: this becomes it. */
export async function simulator(rawArgs: readonly string[]): Promise<ExitCode> {
  process.argv.splice(1, Number.POSITIVE_INFINITY, 'simulator', ...rawArgs)
  await import('../../../simulator/main.js')
  return new Promise(() => {})
}
