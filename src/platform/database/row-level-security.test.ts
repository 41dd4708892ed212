import { randomUUID } from 'node:crypto'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant } from '../../../test/support/factories.js'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import { type Database, sqlState } from './database.js'
import { createPostgres } from './postgres.js'

let test: TestDatabase
let db: Database
let mine: TenantId
let theirs: TenantId
let theirInstance: InstanceId

beforeAll(async () => {
  test = await createTestDatabase()
  db = test.db
  mine = await buildTenant(db, 'mine')
  theirs = await buildTenant(db, 'theirs')
  await buildInstance(db, mine)
  theirInstance = await buildInstance(db, theirs)
})
afterAll(() => test.drop())

/** Tables with rows of tenants: `tenant` itself, and those with a tenant_id. */
async function tenantTables(): Promise<string[]> {
  const rows = await db.query<{ name: string }>(sql`
    select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not a.attisdropped
    union select 'tenant' order by name`)
  return rows.map(({ name }) => name)
}

/** On one connection as `mirante_tenant`, with what `app.tenant` is left at when nobody sets it. */
const asNobody = <Result>(work: (tx: Database) => Promise<Result>) =>
  db.tx(async (tx) => {
    await tx.execute(sql`set local role mirante_tenant`)
    return work(tx as Database)
  })

const stateOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'went through',
    (error: unknown) => sqlState(error),
  )

describe('row-level security', () => {
  it('is forced, with a policy for either role, on every table that names a tenant', async () => {
    const tables = await tenantTables()
    expect(tables.length).toBeGreaterThan(15)
    const lacking = await db.query(sql`
      select c.relname as name from pg_class c
      where c.relname = any (${tables}) and c.relnamespace = 'public'::regnamespace
        and not (c.relrowsecurity and c.relforcerowsecurity
          and exists (select from pg_policies p where p.tablename = c.relname and 'mirante_tenant' = any (p.roles)
            and p.qual like '%app.tenant%' and p.with_check like '%app.tenant%')
          and exists (select from pg_policies p where p.tablename = c.relname and 'mirante_system' = any (p.roles)))`)
    expect(lacking).toEqual([])
  })

  it('leaves tables without a tenant to the system role alone', async () => {
    const open = await db.query(sql`
      select c.relname as name from pg_class c
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
        and not (c.relname = any (${await tenantTables()}))
        and has_table_privilege('mirante_tenant', c.oid, 'select, insert, update, delete')`)
    expect(open).toEqual([])
  })

  it('binds both roles: neither may bypass it or log in', async () => {
    const roles = await db.query(sql`
      select rolname as role, rolsuper or rolbypassrls or rolcanlogin as free from pg_roles
      where rolname in ('mirante_system', 'mirante_tenant') order by rolname`)
    expect(roles).toEqual([
      { role: 'mirante_system', free: false },
      { role: 'mirante_tenant', free: false },
    ])
  })

  it('shows nothing to a request without a tenant, in any table it may read', async () => {
    for (const table of await tenantTables()) {
      const seen = asNobody((tx) => tx.query(sql`select from ${raw(table)} limit 1`))
      const rows = await seen.catch((error: unknown) => {
        if (sqlState(error) === '42501') return []
        throw error
      })
      expect({ table, rows }).toEqual({ table, rows: [] })
    }
  })

  it('shows a tenant its own rows only, also when it asks for others', async () => {
    const seen = await db.tenantTx(mine, (tx) =>
      tx.query<{ id: string; tenant: string }>(sql`select id, tenant_id as tenant from instance`),
    )
    expect(seen.map(({ tenant }) => tenant)).toEqual([mine])
    const changed = await db.tenantTx(mine, (tx) =>
      tx.execute(sql`update instance set name = 'stolen' where id = ${theirInstance}`),
    )
    expect(changed).toBe(0)
  })

  it('refuses rows for another tenant, and giving rows away', async () => {
    const insert = db.tenantTx(mine, (tx) =>
      tx.execute(sql`insert into instance (id, tenant_id, name) values (${randomUUID()}, ${theirs}, 'x')`),
    )
    expect(await stateOf(insert)).toBe('42501')
    const give = db.tenantTx(mine, (tx) => tx.execute(sql`update instance set tenant_id = ${theirs}`))
    expect(await stateOf(give)).toBe('42501')
    const nobody = asNobody((tx) =>
      tx.execute(sql`insert into instance (id, tenant_id, name) values (${randomUUID()}, ${theirs}, 'x')`),
    )
    expect(await stateOf(nobody)).toBe('42501')
  })

  it('keeps credentials and raw stanzas from requests altogether', async () => {
    for (const table of ['credential', 'credential_tombstone', 'inbound_raw']) {
      const reading = db.tenantTx(mine, (tx) => tx.query(sql`select from ${raw(table)}`))
      expect({ table, state: await stateOf(reading) }).toEqual({ table, state: '42501' })
    }
  })

  it('leaves nothing to the next use of a connection, whether the request went well or not', async () => {
    const one = createPostgres({ url: test.url, max: 1, applicationName: 'one', onError: () => {} })
    const state = async () =>
      (
        await one.query(sql`select current_user as role, nullif(current_setting('app.tenant', true), '') as tenant,
          (select count(*)::int from instance) as instances`)
      )[0]
    const clean = { role: 'mirante_system', tenant: null, instances: 2 }
    await one.tenantTx(mine, (tx) => tx.query(sql`select 1`))
    expect(await state()).toEqual(clean)
    await stateOf(one.tenantTx(mine, (tx) => tx.query(sql`select 1 / 0`)))
    expect(await state()).toEqual(clean)
    await stateOf(
      one.tenantTx(mine, async () => {
        throw new Error('no')
      }),
    )
    expect(await state()).toEqual(clean)
    await one.close()
  })
})
