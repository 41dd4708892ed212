import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { authorizationContract } from '../../platform/http/authorization.contract.js'
import { newSecret, readKey } from './api-key.js'
import { apiKeyRoutes } from './api-key-routes.js'
import { ensureFirstKey } from './bootstrap-key.js'
import { createKeyVerifier } from './key-verifier.js'
import { DEFAULT_TENANT_ID } from './tenant.js'

const ids = createIdGenerator()
let database: TestDatabase
let http: TestServer
let admin: string

beforeAll(async () => {
  database = await createTestDatabase()
  const { db } = database
  http = await createTestServer({ db, modules: () => [apiKeyRoutes({ db, ids, clock: systemClock })] })
  admin = await http.newKey()
})
afterAll(async () => {
  await http?.stop()
  await database?.drop()
})

const make = (body: object = {}, headers: Record<string, string> = {}) =>
  http.ask('POST', '/api/keys', { key: admin, body: { name: 'robot', scopes: ['read'], ...body }, headers })

const works = async (key: string) => (await http.ask('GET', '/api/keys', { key })).status

describe('a key', () => {
  it('is read into its parts, or taken whole', () => {
    const { clearKey, publicId } = newSecret()
    expect(clearKey).toMatch(/^mir_[0-9a-f]{16}_[0-9a-f]{64}$/)
    expect(readKey(clearKey)[0]).toEqual({ publicId, secret: clearKey.slice(-64) })
    expect(readKey('what the operator chose')).toEqual([{ publicId: 'bootstrap', secret: 'what the operator chose' }])
    expect(readKey('mir_bootstrap_guess')).toEqual([{ publicId: 'bootstrap', secret: 'mir_bootstrap_guess' }])
  })

  it('is shown once, and only its hash is stored', async () => {
    const { status, json } = await make({ expiresAt: '2100-01-01T00:00:00Z' })
    expect(status).toBe(201)
    expect(json).toMatchObject({
      name: 'robot',
      scopes: ['read'],
      expiresAt: '2100-01-01T00:00:00.000Z',
      revokedAt: null,
    })
    expect(json.key.startsWith(json.prefix)).toBe(true)
    const list = await http.ask('GET', '/api/keys', { key: admin })
    expect(list.text).toContain(json.id)
    expect(list.text).not.toContain(json.key)
    const rows = await database.db.query<{ row: string }>(sql`select api_key::text as row from api_key`)
    expect(rows.map(({ row }) => row).join()).not.toContain(json.key.split('_')[2])
  })

  it('is given again to a repeated request, though nobody can read it in the database', async () => {
    const headers = { 'idempotency-key': 'make-a-key' }
    const first = await make({}, headers)
    const second = await make({}, headers)
    expect(second.text).toBe(first.text)
    const rows = await database.db.query<{ row: string }>(sql`select idempotency::text as row from idempotency`)
    expect(rows.map(({ row }) => row).join()).not.toContain(first.json.key)
  })

  it('may do what its scopes say', async () => {
    const { json } = await make({ scopes: ['read', 'send'] })
    const answer = await http.ask('GET', '/api/keys', { key: json.key })
    expect(answer).toMatchObject({
      status: 403,
      json: { code: 'forbidden_scope', detail: expect.stringContaining('admin') },
    })
  })

  it('ends at once when it is revoked, for every process', async () => {
    const { json } = await make({ scopes: ['admin'] })
    const other = createKeyVerifier({ db: database.db, clock: systemClock, logger: silentLogger })
    await other.start()
    await other.authenticate(json.key)
    expect(await works(json.key)).toBe(200)
    expect((await http.ask('DELETE', `/api/keys/${json.id}`, { key: admin })).status).toBe(204)
    await expect.poll(() => works(json.key)).toBe(401)
    await expect
      .poll(() =>
        other.authenticate(json.key).then(
          () => 'lets in',
          (error) => error.detail,
        ),
      )
      .toBe('This API key was revoked.')
    await other.stop()
    expect((await http.ask('DELETE', `/api/keys/${json.id}`, { key: admin })).status).toBe(204)
  })

  it('is rotated with an overlap', async () => {
    const old = (await make({ scopes: ['admin'] })).json
    const rotated = await http.ask('POST', `/api/keys/${old.id}/rotate`, {
      key: admin,
      body: { overlapSeconds: 3_600 },
    })
    expect(rotated).toMatchObject({ status: 201, json: { name: 'robot', scopes: ['admin'], expiresAt: null } })
    expect(await works(rotated.json.key)).toBe(200)
    expect(await works(old.key)).toBe(200)
    const listed = await http.ask('GET', '/api/keys', { key: admin })
    const entry = listed.json.data.find(({ id }: { id: string }) => id === old.id)
    expect(Date.parse(entry.expiresAt)).toBeGreaterThan(Date.now())
  })

  it('is rotated at once where no overlap is wanted, and then not again', async () => {
    const old = (await make({ scopes: ['admin'] })).json
    const rotate = () => http.ask('POST', `/api/keys/${old.id}/rotate`, { key: admin, body: { overlapSeconds: 0 } })
    expect((await rotate()).status).toBe(201)
    await expect.poll(() => works(old.key)).toBe(401)
    expect(await rotate()).toMatchObject({ status: 409, json: { code: 'conflict' } })
  })

  it('notes its last use, without anybody waiting', async () => {
    const { json } = await make({ scopes: ['admin'] })
    await works(json.key)
    const lastUse = async () => {
      const list = await http.ask('GET', '/api/keys', { key: admin })
      return list.json.data.find(({ id }: { id: string }) => id === json.id).lastUsedAt
    }
    await expect.poll(lastUse).not.toBeNull()
  })
})

describe('bad input', () => {
  it.each([
    [{ name: '' }, '/name'],
    [{ scopes: [] }, '/scopes'],
    [{ scopes: ['everything'] }, '/scopes/0'],
    [{ expiresAt: 'tomorrow' }, '/expiresAt'],
    [{ expiresAt: '2001-01-01T00:00:00Z' }, '/expiresAt'],
    [{ tenantId: 'ten_x' }, '/tenantId'],
  ])('%j names the field', async (body, pointer) => {
    expect(await make(body)).toMatchObject({ status: 400, json: { code: 'invalid_request', errors: [{ pointer }] } })
  })

  it('of an id, a cursor or an overlap names the field', async () => {
    const ask = (method: string, url: string, body?: object) =>
      http.ask(method, url, { key: admin, ...(body && { body }) })
    expect(await ask('DELETE', '/api/keys/7')).toMatchObject({ status: 400, json: { errors: [{ pointer: '/id' }] } })
    expect(await ask('GET', '/api/keys?cursor=7')).toMatchObject({
      status: 400,
      json: { errors: [{ pointer: '/cursor' }] },
    })
    const unknown = '/api/keys/key_01HWP5WYHVFH6RWQRJ6HB7H40J'
    expect(await ask('POST', `${unknown}/rotate`, { overlapSeconds: -1 })).toMatchObject({ status: 400 })
    expect(await ask('POST', `${unknown}/rotate`)).toMatchObject({ status: 404, json: { code: 'not_found' } })
    expect(await ask('DELETE', unknown)).toMatchObject({ status: 404, json: { code: 'not_found' } })
  })
})

describe('a tenant', () => {
  it('sees and ends its own keys only', async () => {
    const tenantId = await http.newTenant()
    const foreign = await http.newKey({ tenantId })
    const mine = (await make()).json
    const list = await http.ask('GET', '/api/keys', { key: foreign })
    expect(list.json.data).toHaveLength(1)
    for (const [method, path] of [
      ['DELETE', ''],
      ['POST', '/rotate'],
    ] as const) {
      const answer = await http.ask(method, `/api/keys/${mine.id}${path}`, { key: foreign })
      expect(answer).toMatchObject({ status: 404, json: { code: 'not_found' } })
    }
  })

  it('keeps its last admin key', async () => {
    const tenantId = await http.newTenant()
    const last = await http.newKey({ tenantId })
    const [{ id }] = (await http.ask('GET', '/api/keys', { key: last })).json.data
    expect(await http.ask('DELETE', `/api/keys/${id}`, { key: last })).toMatchObject({
      status: 409,
      json: { code: 'conflict' },
    })
    const second = await http.newKey({ tenantId })
    expect((await http.ask('DELETE', `/api/keys/${id}`, { key: second })).status).toBe(204)
  })

  it('pages through its keys, newest first, without gap or repeat', async () => {
    const tenantId = await http.newTenant()
    const key = await http.newKey({ tenantId })
    for (let count = 0; count < 6; count++) await http.newKey({ tenantId, scopes: ['read'] })
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = await http.ask('GET', `/api/keys?limit=3${cursor && `&cursor=${cursor}`}`, { key })
      seen.push(...page.json.data.map(({ id }: { id: string }) => id))
      cursor = page.json.nextCursor
    }
    expect(seen).toHaveLength(7)
    expect(seen).toEqual([...new Set(seen)].sort().reverse())
  })
})

describe('the first key', () => {
  let empty: TestDatabase
  beforeEach(async () => {
    empty = await createTestDatabase()
    return () => empty.drop()
  })
  const ensure = (bootstrapKey?: string) => ensureFirstKey({ db: empty.db, ids, bootstrapKey })
  const verify = (key: string) =>
    createKeyVerifier({ db: empty.db, clock: systemClock, logger: silentLogger }).authenticate(key)

  it('is made and told once, however many start at once', async () => {
    const told = (await Promise.all([ensure(), ensure(), ensure()])).filter((key) => key !== undefined)
    expect(told).toHaveLength(1)
    expect(await ensure()).toBeUndefined()
    const auth = await verify(told[0] ?? '')
    expect(auth.tenantId).toBe(DEFAULT_TENANT_ID)
    expect([...auth.scopes]).toEqual(['admin'])
  })

  it('may be the operator’s own, of any form, and may be changed', async () => {
    const [first, second] = ['correct horse battery staple, twice', `mir_abc_${'z'.repeat(40)}`]
    expect(await ensure(first)).toBeUndefined()
    expect((await verify(first)).tenantId).toBe(DEFAULT_TENANT_ID)
    await ensure(second)
    expect((await verify(second)).tenantId).toBe(DEFAULT_TENANT_ID)
    await expect(verify(first)).rejects.toMatchObject({ code: 'unauthenticated' })
    await expect(ensure('too short')).rejects.toThrow(RangeError)
  })

  it('stays revoked when the same one is configured again', async () => {
    const own = 'correct horse battery staple, twice'
    await ensure(own)
    await empty.db.execute(sql`update api_key set revoked_at = now()`)
    await ensure(own)
    await expect(verify(own)).rejects.toMatchObject({ detail: 'This API key was revoked.' })
  })
})

describe('a database that is away', () => {
  it('is no reason to call a key wrong', async () => {
    const broken = {
      ...database.db,
      query: () => Promise.reject(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })),
    }
    const verifier = createKeyVerifier({ db: broken, clock: systemClock, logger: silentLogger })
    await expect(verifier.authenticate(admin)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

authorizationContract({ server: () => http })
