/**
 * Ends requests whose body does not arrive in time. Node's own timeout is the same for all routes, so it is the one of
 * uploads; here is that of the others: one look a second at all of them, because a timer for each request costs more than
 * all else that is done to its body.
 */
import type { IncomingMessage } from 'node:http'

export interface AwaitedBodies {
  add(request: IncomingMessage): void
  /** Its body is here. One that is never deleted is forgotten by itself. */
  delete(request: IncomingMessage): void
  stop(): void
}

const LOOK_EVERY_MS = 1_000

/** `onLate` is called with each request whose body is not complete after `withinMs`, up to a second later. */
export function watchBodies(withinMs: number, onLate: (request: IncomingMessage) => void): AwaitedBodies {
  const awaitedSince = new Map<IncomingMessage, number>()
  const timer = setInterval(look, Math.min(LOOK_EVERY_MS, withinMs)).unref()
  return {
    add: (request) => void awaitedSince.set(request, performance.now()),
    delete: (request) => void awaitedSince.delete(request),
    stop: () => clearInterval(timer),
  }

  function look(): void {
    const startedBefore = performance.now() - withinMs
    for (const [request, since] of awaitedSince) {
      const isOver = request.complete || request.destroyed
      // In the order in which they came: behind the first that still has time, all have.
      if (!isOver && since > startedBefore) return
      awaitedSince.delete(request)
      if (!isOver) onLate(request)
    }
  }
}

export const bringsBody = ({ headers }: IncomingMessage): boolean =>
  headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
