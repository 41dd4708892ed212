/** From a plan of roles to running services: what a child process runs, and `--single` in the supervisor's own process. */
import { type Backoff, backoffMs } from '../kernel/backoff.js'
import { systemClock } from '../kernel/clock.js'
import { errorText } from '../kernel/logger.js'
import { isDatabaseUnavailable } from '../platform/database/database.js'
import type { Role } from './roles.js'
import type { RunRoles } from './runner.js'

/** What compose loads for a role, so that it can be there before the database is. */
const parts: Readonly<Record<Role, () => Promise<unknown>>> = {
  web: () => import('./compose-web.js'),
  gateway: () => import('./compose-gateway.js'),
  worker: () => import('./compose-jobs.js'),
  scheduler: () => import('./compose-jobs.js'),
}

const WAIT: Backoff = { baseMs: 200, factor: 1.5, maxMs: 5_000, jitter: 0.2 }

export async function loadRoles(roles: readonly Role[]): Promise<RunRoles> {
  const [{ compose }, { createLogger }] = await Promise.all([
    import('./compose.js'),
    import('../platform/observability/logger.js'),
    ...roles.map((role) => parts[role]()),
  ])
  return async ({ config, plan }, signal) => {
    const logger = createLogger(config).child({ process: plan.name })
    const options = { roles: new Set(plan.roles), slot: plan.slot, logger }
    for (let attempt = 0; ; attempt++) {
      try {
        const { service, http } = await compose(config, options)
        await service.start()
        return { url: http?.url, stop: () => service.stop() }
      } catch (error) {
        // All else ends the process, and a new one tries; but to load everything anew brings no database back.
        if (!isDatabaseUnavailable(error)) throw error
        logger.warn('INFO', 'the database does not answer, waiting for it', { error: errorText(error), attempt })
        await systemClock.sleep(backoffMs(attempt, WAIT, Math.random), signal)
      }
    }
  }
}
