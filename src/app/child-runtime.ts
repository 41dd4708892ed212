/**
 * The life of a child process: it waits to be told what to run, says when it serves, stops when asked, and ends at once
 * when its supervisor is gone.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { FromChild, Start, ToChild } from './child-protocol.js'
import { EXIT } from './exit-codes.js'
import { guardProcess } from './process-guard.js'
import type { RunningRoles, RunRoles } from './runner.js'
import { startFailure } from './start-failure.js'

/**
 * After the wait for balancers. Longer than this a stop is broken, and the process ends without it. Less than the supervisor's
 * own patience.
 */
const STOP_LIMIT_MS = 23_000

export function runChild(run: RunRoles): void {
  guardProcess()
  let running: Promise<RunningRoles> | undefined
  let stopLimitMs = STOP_LIMIT_MS
  const stopping = new AbortController()

  // No state is saved: leases, journal and fence make this as safe as any crash, and the sockets close with the process.
  process.on('disconnect', () => process.exit(EXIT.failed))
  // The terminal sends it to the whole group; the supervisor decides.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => void stop())
  process.on('message', (message) => receive(message as ToChild))
  if (!process.connected) process.exit(EXIT.failed)

  function receive(message: ToChild): void {
    if (message.type === 'stop') void stop()
    else if (!running) void start(message)
  }

  async function start(message: Start): Promise<void> {
    running = run(message, stopping.signal)
    stopLimitMs = message.config.drainWaitMs + STOP_LIMIT_MS
    try {
      const { url } = await running
      tell(url === undefined ? { type: 'ready' } : { type: 'ready', url })
    } catch (error) {
      if (!stopping.signal.aborted) tell({ type: 'failed', ...startFailure(error) }, () => process.exit(EXIT.failed))
    }
  }

  async function stop(): Promise<void> {
    if (stopping.signal.aborted) return
    stopping.abort()
    const stopped = Promise.resolve(running?.then((roles) => roles.stop())).then(
      () => EXIT.done,
      () => EXIT.failed,
    )
    process.exit(await Promise.race([stopped, delay(stopLimitMs, EXIT.failed, { ref: false })]))
  }
}

function tell(message: FromChild, then: () => void = () => {}): void {
  if (process.connected) process.send?.(message, undefined, undefined, then)
  else then()
}
