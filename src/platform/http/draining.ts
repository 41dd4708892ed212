/** Whether a server is on its way out: a signal that belongs to the Fastify instance, for whoever has one in hand. */
import type { FastifyInstance } from 'fastify'

const slot = Symbol('draining')
type Drainable = { [slot]?: AbortSignal }

export function addDraining(app: { decorate(name: symbol, value: AbortSignal): unknown }, signal: AbortSignal): void {
  app.decorate(slot, signal)
}

/** Aborted when the server takes no more connections. Never, where nobody said so. */
export const draining = (server: Pick<FastifyInstance, 'server'>): AbortSignal =>
  (server as Drainable)[slot] ?? new AbortController().signal
