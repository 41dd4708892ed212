import { applyFault } from '../faults/apply-fault.js'
import { FAULT_ACTIONS, FAULT_POINTS, type FaultRule, isFaultAction } from '../faults/rules.js'
import type { Simulation } from '../simulation.js'
import { BadInput, oneOf, optionalNumber, optionalText, phoneFrom, type Route } from './route.js'

export function faultRoutes(sim: Simulation): Route[] {
  return [
    {
      method: 'POST',
      path: '/admin/faults',
      handle: ({ json }) => ({ body: applyFault(sim, readRule(json())) }),
    },
    { method: 'GET', path: '/admin/faults', handle: () => ({ body: { faults: sim.faults.list() } }) },
    {
      method: 'DELETE',
      path: '/admin/faults',
      handle() {
        sim.faults.clear()
        return { body: { faults: [] } }
      },
    },
    {
      method: 'DELETE',
      path: '/admin/faults/:id',
      handle({ params }) {
        if (!sim.faults.remove(params.id ?? '')) throw new BadInput(`there is no fault ${params.id}`, 404)
        return { body: { removed: params.id } }
      },
    },
  ]
}

function readRule(body: Record<string, unknown>): FaultRule {
  if (!isFaultAction(body.action)) throw new BadInput(`"action" must be one of ${FAULT_ACTIONS.join(', ')}`)
  const number = (name: string, max: number) => optionalNumber(body[name], name, { min: 0, max })
  const phone = (name: string) => (body[name] === undefined ? undefined : phoneFrom(body[name], name))
  const rule = {
    action: body.action,
    at: oneOf(body.at, 'at', FAULT_POINTS),
    account: phone('account'),
    contact: phone('contact'),
    tag: optionalText(body.tag, 'tag'),
    id: optionalText(body.id, 'id'),
    after: number('after', 1e9),
    count: body.count === 'forever' ? 'forever' : number('count', 1e9),
    probability: number('probability', 1),
    ms: number('ms', 3_600_000),
    code: number('code', 999),
    reason: number('reason', 999),
    error: number('error', 999),
  }
  return Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined)) as FaultRule
}
