import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import sql from 'sql-template-tag'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createEmptyDatabase, onServer, testServerUrl } from '../../../test/support/database.js'
import { AppError } from '../../kernel/errors.js'
import { createIdGenerator } from '../../kernel/ids.js'
import type { Database } from './database.js'
import { codeVersion, migrate, oldestWorkingCode, schemaVersion } from './migrate.js'
import { createPostgres } from './postgres.js'

let empty: { url: string; drop(): Promise<void> }
let db: Database
let folder: string

beforeEach(async () => {
  empty = await createEmptyDatabase()
  db = createPostgres({ url: empty.url, max: 1, applicationName: 'test', onError: () => {}, systemRole: null })
  folder = await mkdtemp(join(tmpdir(), 'mirante-migrations-'))
})
afterEach(async () => {
  await db.close()
  await empty.drop()
  await rm(folder, { recursive: true })
})

const directory = () => pathToFileURL(`${folder}/`)
const write = (name: string, text: string) => writeFile(join(folder, name), text)
const code = (error: unknown) => (error instanceof AppError ? error.code : error)

describe('migrate', () => {
  it('brings an empty database to the version of the code, and then has nothing to do', async () => {
    expect(await schemaVersion(db)).toBe(0)
    const seen: string[] = []
    const first = await migrate(empty.url, { onProgress: (name) => seen.push(name) })
    expect(first.version).toBe(await codeVersion())
    expect(first.applied).toEqual(seen)
    expect(first.applied[0]).toBe('0001-spine.sql')
    expect(await schemaVersion(db)).toBe(first.version)
    expect(await migrate(empty.url)).toEqual({ applied: [], version: first.version, newer: [] })
  })

  it('lets the system role read the version', async () => {
    await migrate(empty.url)
    const system = createPostgres({ url: empty.url, max: 1, applicationName: 'test', onError: () => {} })
    expect(await schemaVersion(system)).toBe(await codeVersion())
    await system.close()
  })

  it('applies each migration once when several processes migrate at once', async () => {
    await write('0001-one.sql', 'create table one (n int); insert into one values (1);')
    await write('0002-two.sql', 'insert into one values (2);')
    const results = await Promise.all([1, 2, 3, 4].map(() => migrate(empty.url, { directory: directory() })))
    expect(results.flatMap(({ applied }) => applied).sort()).toEqual(['0001-one.sql', '0002-two.sql'])
    expect(await db.query(sql`select n from one order by n`)).toEqual([{ n: 1 }, { n: 2 }])
  })

  it('leaves nothing of a migration that fails, and keeps those before it', async () => {
    await write('0001-good.sql', 'create table good ();')
    await write('0002-bad.sql', 'create table half (); select 1 / 0;')
    await expect(migrate(empty.url, { directory: directory() })).rejects.toThrow(/division by zero/)
    expect(await schemaVersion(db)).toBe(1)
    expect(await db.query(sql`select to_regclass('half') as half`)).toEqual([{ half: null }])
  })

  it('refuses a database of a newer version', async () => {
    await write('0001-one.sql', 'create table one ();')
    await write('0002-two.sql', 'create table two ();')
    await migrate(empty.url, { directory: directory() })
    await rm(join(folder, '0002-two.sql'))
    expect(await migrate(empty.url, { directory: directory() }).catch(code)).toBe('schema_newer')
  })

  it('accepts a newer version that says it works with this one, and names it', async () => {
    await write('0001-one.sql', 'create table one ();')
    await write('0002-two.sql', '-- Why.\n-- works-with: 0001\n\ncreate table two ();')
    await migrate(empty.url, { directory: directory() })
    await rm(join(folder, '0002-two.sql'))
    const result = await migrate(empty.url, { directory: directory() })
    expect(result).toEqual({ applied: [], version: 1, newer: ['0002-two.sql'] })
    expect([await schemaVersion(db), await oldestWorkingCode(db)]).toEqual([2, 1])
  })

  it('refuses what a newer version says of code newer than this one, or what says nothing after it', async () => {
    await write('0001-one.sql', 'create table one ();')
    await write('0002-two.sql', 'create table two ();')
    await write('0003-three.sql', '-- works-with: 0002\ncreate table three ();')
    await migrate(empty.url, { directory: directory() })
    await rm(join(folder, '0003-three.sql'))
    expect(await migrate(empty.url, { directory: directory() })).toMatchObject({ newer: ['0003-three.sql'] })
    await rm(join(folder, '0002-two.sql'))
    expect(await migrate(empty.url, { directory: directory() }).catch(code)).toBe('schema_newer')
    expect(await oldestWorkingCode(db)).toBe(2)
  })

  it('adds what it needs to a table that older code has made', async () => {
    await db.execute(sql`
      create table schema_migration (
        version int primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`)
    expect(await oldestWorkingCode(db)).toBe(0)
    await write('0001-one.sql', '-- works-with: 0000\ncreate table one ();')
    await migrate(empty.url, { directory: directory() })
    expect([await schemaVersion(db), await oldestWorkingCode(db)]).toEqual([1, 0])
  })

  it('refuses a migration that changed after it was applied', async () => {
    await write('0001-one.sql', 'create table one ();')
    await migrate(empty.url, { directory: directory() })
    await write('0001-one.sql', 'create table other ();')
    expect(await migrate(empty.url, { directory: directory() }).catch(code)).toBe('migration_changed')
  })

  it('needs no superuser: a role that may make roles, and owns the database', async () => {
    const name = `mirante_test_owner_${randomBytes(6).toString('hex')}`
    const database = new URL(empty.url).pathname.slice(1)
    await onServer(testServerUrl(), async (query) => {
      await query(`create role ${name} login password 'secret' createrole`)
      // Where the roles are there already, made by somebody else, an administrator has to give them.
      await query(`grant mirante_system, mirante_tenant to ${name} with admin option`).catch(() => {})
      await query(`alter database ${database} owner to ${name}`)
    })
    const url = new URL(empty.url)
    url.username = name
    url.password = 'secret'
    await migrate(url.href)
    const system = createPostgres({ url: url.href, max: 1, applicationName: 'test', onError: () => {} })
    const tenantId = createIdGenerator().next('ten')
    await system.execute(sql`insert into tenant (id, name) values (${tenantId}, 'one')`)
    const seen = await system.tenantTx(tenantId, (tx) => tx.query(sql`select current_user as role, name from tenant`))
    expect(seen).toEqual([{ role: 'mirante_tenant', name: 'one' }])
    await system.close()
    await db.close()
    await empty.drop()
    await onServer(testServerUrl(), (query) => query(`drop role ${name}`))
  })

  it('refuses two migrations of one number and names that say nothing', async () => {
    await write('0001-one.sql', '')
    await write('0001-uno.sql', '')
    await expect(migrate(empty.url, { directory: directory() })).rejects.toThrow(/number of 0001-one/)
    await rm(join(folder, '0001-uno.sql'))
    await write('fix.sql', '')
    await expect(migrate(empty.url, { directory: directory() })).rejects.toThrow(/fix\.sql is not named/)
  })
})
