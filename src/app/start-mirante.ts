/** The supervisor with everything real in it: what `serve` and `demo` run. */
import type { ChildProcess } from 'node:child_process'
import { systemClock } from '../kernel/clock.js'
import type { Logger } from '../kernel/logger.js'
import { createChildKeeper } from './child-keeper.js'
import type { OperatorConfig } from './config.js'
import { CHILD_MODULE } from './fork-child.js'
import { createLocalRunner } from './local-runner.js'
import { planProcesses, type Role } from './roles.js'
import { createSupervisor, type Supervisor } from './supervisor.js'

export interface MiranteOptions {
  readonly config: OperatorConfig
  readonly roles: readonly Role[]
  readonly single: boolean
  /** The process with the role web, if it was forked already. */
  readonly early?: ChildProcess | undefined
  readonly logger: Logger
  /** Nothing more can be done without a person. Call `stop`. */
  readonly onFinal: (message: string) => void
}

export function createMirante({ config, roles, single, early, logger, onFinal }: MiranteOptions): Supervisor {
  const shared = { clock: systemClock, random: Math.random, logger }
  return createSupervisor({
    config,
    plans: planProcesses({ roles, gateways: config.gateways, single }),
    clock: systemClock,
    logger,
    onFinal,
    makeRunner: (plan, hooks) =>
      single
        ? createLocalRunner(async () => (await import('./start-roles.js')).loadRoles(plan.roles), hooks)
        : createChildKeeper({
            ...shared,
            ...hooks,
            plan,
            module: CHILD_MODULE,
            early: plan.roles.includes('web') ? early : undefined,
          }),
    // Loaded after the children were forked: they have more to load, and it is their loading that a start waits for.
    startEmbedded: async (directory, onMoved) =>
      (await import('./embedded-keeper.js')).keepEmbedded({ ...shared, directory, onMoved }),
    prepareDatabase: async (complete, signal) =>
      (await import('./prepare-database.js')).prepareDatabase({ ...shared, config: complete, signal }),
  })
}
