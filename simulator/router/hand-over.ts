import type { Simulation } from '../simulation.js'
import type { Connection } from '../wire/connection.js'
import type { BinaryNode } from '../wire/node-codec.js'
import { type Delivery, isQueued } from '../world/offline-queue.js'
import type { Companion } from '../world/world.js'

/** Puts what was queued on a companion's socket. */
export type Transmit = (connection: Connection, delivery: Delivery) => void

/** Takes a stanza for a companion: onto its socket when it is active, and into its queue until it is confirmed. */
export function handOver(
  sim: Simulation,
  companion: Companion,
  node: BinaryNode,
  transmit: Transmit = (connection) => connection.send(node),
): Delivery | null {
  const { connection } = companion
  const isActive = connection?.isOpen === true && connection.session.isActive
  if (!isQueued(node)) {
    if (isActive) connection.send(node)
    return null
  }
  const delivery = companion.queue.add(node, sim.now())
  if (isActive) transmit(connection, delivery)
  return delivery
}
