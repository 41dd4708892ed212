/** The life of a number through the real library, against the simulator. */
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { FaultRule } from '../../../simulator/faults/rules.js'
import { type Simulator, startSimulator } from '../../../simulator/index.js'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildTenant } from '../../../test/support/factories.js'
import {
  type Gateway,
  type GatewayOptions,
  startGateway,
  storyOf,
  until,
  untilStatus,
} from '../../../test/support/gateway.js'
import { systemClock } from '../../kernel/clock.js'
import { newKey } from '../../kernel/crypto.js'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import { createBaileysProvider } from '../../platform/whatsapp/baileys/baileys.js'
import { createDataKeys, type DataKeys, kekOf } from '../tenants/data-keys.js'
import { readQr } from './read-qr.js'

let database: TestDatabase
let simulator: Simulator
let dataKeys: DataKeys
let tenantId: TenantId
let gateway: Gateway | undefined

beforeAll(async () => {
  database = await createTestDatabase()
  simulator = await startSimulator()
  dataKeys = createDataKeys({ db: database.db, kek: kekOf(newKey()) })
  tenantId = await buildTenant(database.db)
})
afterEach(async () => {
  await gateway?.stop()
  gateway = undefined
})
afterAll(async () => {
  await simulator?.stop()
  await database?.drop()
})

it('is paired by QR, survives a restart without one, is logged out by its phone, and pairs anew', async () => {
  const first = await start()
  const { id } = await first.change.create(tenantId, { name: 'shop', provider: 'baileys', enabled: true })
  await scan(first, id)
  const { phone } = await untilStatus(database.db, id, 'CONNECTED')
  await first.stop()
  await untilStatus(database.db, id, 'RECONNECTING/CLOSED')

  const second = await start()
  await untilStatus(database.db, id, 'CONNECTED')
  const story = await storyOf(database.db, id)
  expect(story.slice(story.indexOf('RECONNECTING/CLOSED'))).not.toContain('QR_REQUIRED')

  simulator.phones.logout(digits(phone))
  await untilStatus(database.db, id, 'AUTH_FAILURE/LOGOUT')
  await second.change.restart(tenantId, id)
  await scan(second, id)
  await untilStatus(database.db, id, 'CONNECTED')
})

it('comes back by itself after each fault that a connection can have', async () => {
  const running = await start({ policy: { replacedBaseMs: 1 } })
  const { id } = await running.change.create(tenantId, { name: 'tough', provider: 'baileys', enabled: true })
  await scan(running, id)
  const { phone } = await untilStatus(database.db, id, 'CONNECTED')
  const faults: readonly [FaultRule, string][] = [
    [{ action: 'kill' }, 'RECONNECTING/CONNECTION_LOST'],
    [{ action: 'stream-end' }, 'RECONNECTING/CONNECTION_LOST'],
    [{ action: 'stream-error', code: 503 }, 'RECONNECTING/CONNECTION_LOST'],
    [{ action: 'stream-error', code: 515 }, 'RECONNECTING/RESTART_REQUIRED'],
    [{ action: 'garbage-frame' }, 'RECONNECTING/CONNECTION_LOST'],
    [{ action: 'replaced' }, 'RECONNECTING/REPLACED'],
  ]
  for (const [rule, expected] of faults) {
    const before = (await storyOf(database.db, id)).length
    simulator.faults.add({ ...rule, account: digits(phone) })
    const news = await until(async () => {
      const story = (await storyOf(database.db, id)).slice(before)
      return story.includes('CONNECTED') && story
    }, JSON.stringify(rule))
    expect(news).toContain(expected)
  }
})

it('is removed from the account and purged when its owner deletes it', async () => {
  const running = await start()
  const { id } = await running.change.create(tenantId, { name: 'leaving', provider: 'baileys', enabled: true })
  await scan(running, id)
  const { phone } = await untilStatus(database.db, id, 'CONNECTED')
  await running.change.remove(tenantId, id)
  await until(async () => {
    const rows = await database.db.query(sql`select from instance where id = ${id} and purged_at is not null`)
    return rows.length > 0
  }, 'the purge')
  expect(simulator.world.find(digits(phone))?.companions.size).toBe(0)
})

// Helpers

async function start(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const { wsUrl: webSocketUrl, rootPublicKeyHex } = simulator
  const provider = createBaileysProvider({ clock: systemClock, random: Math.random, webSocketUrl, rootPublicKeyHex })
  gateway = await startGateway({ db: database.db, dataKeys, provider, ...options })
  return gateway
}

async function scan({ news }: Gateway, instanceId: InstanceId): Promise<void> {
  const shown = await readQr({ db: database.db, dataKeys, news }, { tenantId, instanceId }, 60_000)
  if (shown === 'connected') throw new Error('connected already')
  simulator.phones.scanQr(shown.code)
}

const digits = (phone: string | null): string => (phone ?? '').replace('+', '')
