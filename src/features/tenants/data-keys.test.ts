import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { createIdGenerator } from '../../kernel/ids.js'
import { createDataKeys, kekOf, openFor, sealFor } from './data-keys.js'
import { DEFAULT_TENANT_ID } from './tenant.js'
import { ensureDefaultTenant } from './tenant-store.js'

const ids = createIdGenerator()
const tenantId = DEFAULT_TENANT_ID
const kek = kekOf(randomBytes(32))
let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
  await ensureDefaultTenant(database.db)
})
afterAll(() => database?.drop())

const dataKeys = (options: Partial<Parameters<typeof createDataKeys>[0]> = {}) =>
  createDataKeys({ db: database.db, kek, ...options })

const stored = (id: string) =>
  database.db.query<{ kek_id: string; wrapped: Buffer }>(sql`select kek_id, wrapped from data_key where id = ${id}`)

const place = (overrides: object = {}) => ({ tenantId, instanceId: 'i', kind: 'session', id: 'a.0', ...overrides })

describe('a data key', () => {
  it('is made once, whoever asks first', async () => {
    const id = ids.next('ins')
    const askers = Array.from({ length: 12 }, () => dataKeys())
    const keys = await Promise.all(askers.map((asker) => asker.dataKey(tenantId, id)))
    expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(1)
    expect(await stored(id)).toHaveLength(1)
  })

  it('is stored wrapped', async () => {
    const id = ids.next('ins')
    const key = await dataKeys().dataKey(tenantId, id)
    const [row] = await stored(id)
    expect(row?.wrapped.includes(key)).toBe(false)
  })

  it('is not given out with a wrong operator’s key, and nothing is overwritten', async () => {
    const id = ids.next('ins')
    const key = await dataKeys().dataKey(tenantId, id)
    const before = await stored(id)
    const wrong = dataKeys({ kek: kekOf(randomBytes(32)) })
    await expect(wrong.dataKey(tenantId, id)).rejects.toMatchObject({ code: 'encryption_key_mismatch' })
    await expect(wrong.verify()).rejects.toMatchObject({ code: 'encryption_key_mismatch' })
    // The right id with other bytes is no better.
    const forged = dataKeys({ kek: { id: kek.id, key: randomBytes(32) } })
    await expect(forged.dataKey(tenantId, id)).rejects.toMatchObject({ code: 'encryption_key_mismatch' })
    expect(await stored(id)).toEqual(before)
    await dataKeys().verify()
    expect(await dataKeys().dataKey(tenantId, id)).toEqual(key)
  })

  it('does not open from another row', async () => {
    const [from, to] = [ids.next('ins'), ids.next('ins')]
    await dataKeys().dataKey(tenantId, from)
    await dataKeys().dataKey(tenantId, to)
    await database.db.execute(
      sql`update data_key set wrapped = (select wrapped from data_key where id = ${from}) where id = ${to}`,
    )
    await expect(dataKeys().dataKey(tenantId, to)).rejects.toMatchObject({ code: 'encryption_key_mismatch' })
    await database.db.execute(sql`delete from data_key where id = ${to}`)
  })

  it('of one tenant is never given to another', async () => {
    const id = ids.next('ins')
    const foreign = ids.next('ten')
    await database.db.execute(sql`insert into tenant (id, name) values (${foreign}, 'foreign')`)
    await dataKeys().dataKey(tenantId, id)
    await expect(dataKeys().dataKey(foreign, id)).rejects.toMatchObject({ code: 'internal' })
  })

  it('is rewrapped when the operator changes keys, and stays the same', async () => {
    const id = ids.next('ins')
    const key = await dataKeys().dataKey(tenantId, id)
    const next = kekOf(randomBytes(32))
    expect(await dataKeys({ kek: next, previousKeks: [kek] }).dataKey(tenantId, id)).toEqual(key)
    expect((await stored(id))[0]?.kek_id).toBe(next.id)
    expect(await dataKeys({ kek: next }).dataKey(tenantId, id)).toEqual(key)
  })

  it('is asked for again after a failure', async () => {
    const id = ids.next('ins')
    let away = true
    const db = {
      ...database.db,
      query: ((...args: Parameters<typeof database.db.query>) =>
        away ? Promise.reject(new Error('away')) : database.db.query(...args)) as typeof database.db.query,
    }
    const keys = dataKeys({ db })
    await expect(keys.dataKey(tenantId, id)).rejects.toThrow('away')
    away = false
    expect(await keys.dataKey(tenantId, id)).toHaveLength(32)
  })
})

describe('a sealed value', () => {
  const key = randomBytes(32)
  const sealed = sealFor(key, place(), Buffer.from('secret'))

  it('opens in its place only', () => {
    expect(openFor(key, place(), sealed).toString()).toBe('secret')
    for (const elsewhere of [{ instanceId: null }, { kind: 'creds' }, { id: 'b.0' }, { tenantId: ids.next('ten') }]) {
      expect(() => openFor(key, place(elsewhere), sealed)).toThrow(
        expect.objectContaining({ code: 'encryption_key_mismatch' }),
      )
    }
  })

  it('does not open when a bit of it has changed', () => {
    for (let byte = 0; byte < sealed.length; byte++) {
      const flipped = Buffer.from(sealed)
      flipped[byte] = (flipped[byte] ?? 0) ^ 1
      expect(() => openFor(key, place(), flipped)).toThrow()
    }
  })

  it('of a tenant is sealed with its own key', async () => {
    const keys = dataKeys()
    const secret = await keys.sealForTenant(tenantId, 'webhook-secret', 'w', Buffer.from('whsec_x'))
    expect((await keys.openForTenant(tenantId, 'webhook-secret', 'w', secret)).toString()).toBe('whsec_x')
    await expect(keys.openForTenant(tenantId, 'webhook-secret', 'v', secret)).rejects.toThrow()
  })
})
