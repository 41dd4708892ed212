import type { Simulation } from '../simulation.js'
import { findAccount } from './account-routes.js'
import { oneOf, optionalNumber, type Route } from './route.js'
import { judge } from './verdict.js'

const ANY = { min: 0, max: Number.MAX_SAFE_INTEGER }

export function observationRoutes(sim: Simulation): Route[] {
  return [
    {
      method: 'GET',
      path: '/admin/verdict',
      handle({ query }) {
        const phone = query.get('account')
        const first = optionalNumber(query.get('first'), 'first', ANY)
        const last = optionalNumber(query.get('last'), 'last', ANY)
        return { body: judge(sim, phone ? findAccount(sim, phone) : undefined, { first, last }) }
      },
    },
    {
      method: 'GET',
      path: '/admin/trace',
      handle({ query }) {
        const after = optionalNumber(query.get('after'), 'after', ANY) ?? 0
        const limit = optionalNumber(query.get('limit'), 'limit', { min: 1, max: 200_000 }) ?? 1000
        const tag = query.get('tag')
        const direction = oneOf(query.get('direction'), 'direction', ['in', 'out'] as const)
        const entries = sim.trace.read({ after, limit, ...(tag ? { tag } : {}), ...(direction ? { direction } : {}) })
        return { body: { entries, last: entries.at(-1)?.n ?? after } }
      },
    },
    {
      method: 'DELETE',
      path: '/admin/trace',
      handle() {
        sim.trace.clear()
        return { body: { cleared: true } }
      },
    },
    {
      method: 'POST',
      path: '/admin/reset',
      handle() {
        sim.reset()
        return { body: { reset: true } }
      },
    },
    {
      method: 'GET',
      path: '/admin/stats',
      handle: () => ({
        body: {
          ...sim.stats,
          problems: sim.problems,
          openConnections: sim.connections.size,
          memory: process.memoryUsage().rss,
        },
      }),
    },
    {
      method: 'GET',
      path: '/admin/unknown',
      handle: () => ({ body: { unknown: sim.unknown } }),
    },
  ]
}
