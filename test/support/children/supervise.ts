/** A supervisor in a process of its own, over `obedient.ts`: for tests that kill it. Argument: the file of its children. */
import { fileURLToPath } from 'node:url'
import { createChildKeeper } from '../../../src/app/child-keeper.js'
import { readConfig } from '../../../src/app/config.js'
import { planProcesses } from '../../../src/app/roles.js'
import { createSupervisor } from '../../../src/app/supervisor.js'
import { systemClock } from '../../../src/kernel/clock.js'
import { silentLogger } from '../../../src/kernel/logger.js'

const module = fileURLToPath(new URL('./obedient.ts', import.meta.url))
const flags = {
  DATABASE_URL: 'postgres://nowhere/x',
  ENCRYPTION_KEY: '00'.repeat(32),
  SESSION_STORAGE_PATH: process.argv[2],
}
const supervisor = createSupervisor({
  config: readConfig(flags, {}),
  plans: planProcesses({ roles: ['web', 'gateway'], gateways: 2, single: false }),
  clock: systemClock,
  logger: silentLogger,
  makeRunner: (plan, hooks) =>
    createChildKeeper({
      ...hooks,
      plan,
      module,
      clock: systemClock,
      random: Math.random,
      logger: silentLogger,
    }),
  startEmbedded: () => Promise.reject(new Error('not asked for')),
  prepareDatabase: () => Promise.resolve({ newApiKey: undefined }),
  onFinal: () => process.exit(1),
})
process.stdout.write(`${JSON.stringify(await supervisor.start())}\n`)
