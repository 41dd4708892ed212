import type { Simulation } from '../simulation.js'
import { breakConnection } from './break-connection.js'
import { type ActiveFault, type FaultRule, pointOf } from './rules.js'

/** A rule that happens now breaks the connections it matches at once; any other waits for its moment. */
export function applyFault(sim: Simulation, rule: FaultRule): ActiveFault | { faultId: null; broken: number } {
  if (pointOf(rule) !== 'now') return sim.faults.add(rule)
  const hit = [...sim.connections].filter(
    ({ companion }) => rule.account === undefined || companion?.person.phone === rule.account,
  )
  for (const connection of hit) breakConnection(sim, connection, rule)
  return { faultId: null, broken: hit.length }
}
