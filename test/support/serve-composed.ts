/**
 * A whole Mirante in this process, composed with adapters of a test's own: for controls, which must fail where the product
 * holds. Configured by the environment like `serve`; needs DATABASE_URL.
 */
import { compose } from '../../src/app/compose.js'
import type { Adapters } from '../../src/app/compose-options.js'
import { readConfig } from '../../src/app/config.js'
import { prepareDatabase } from '../../src/app/prepare-database.js'
import { allRoles, type Role } from '../../src/app/roles.js'
import { systemClock } from '../../src/kernel/clock.js'
import { createLogger } from '../../src/platform/observability/logger.js'

export async function serveComposed(overrides: Partial<Adapters>, roles: readonly Role[] = allRoles): Promise<void> {
  const given = readConfig()
  if (!given.databaseUrl) throw new Error('DATABASE_URL is missing')
  const config = { ...given, databaseUrl: given.databaseUrl, encryptionKey: given.encryptionKey ?? Buffer.alloc(32, 7) }
  const logger = createLogger(config)
  const { signal } = new AbortController()
  await prepareDatabase({ config, clock: systemClock, random: Math.random, logger, signal })
  const { service } = await compose(config, { roles: new Set(roles), slot: 0, logger, overrides })
  process.once('SIGTERM', () => void service.stop().then(() => process.exit(0)))
  await service.start()
}
