import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { PATIENT } from '../../../test/support/database.js'
import { AppError } from '../../kernel/errors.js'
import { silentLogger } from '../../kernel/logger.js'
import { type Database, isDatabaseUnavailable } from './database.js'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.js'
import { ensureLinks } from './embedded-runtime.js'
import { createPostgres } from './postgres.js'

/** One cluster serves all tests of a directory: making one takes seconds. */
let parent: string
let directory: string
const open = new Set<EmbeddedPostgres>()
const databases = new Set<Database>()
const starters = new Set<ChildProcess>()

beforeAll(async () => {
  // Closed to other accounts, as mkdtemp makes it: also where Mirante runs as root and PostgreSQL as another account.
  parent = await mkdtemp(join(tmpdir(), 'mirante-embedded-'))
  directory = join(parent, 'data')
})
afterEach(async () => {
  await Promise.all([...databases].map((db) => db.close()))
  for (const starter of starters) starter.kill('SIGKILL')
  await Promise.all([...open].map((postgres) => postgres.stop()))
  for (const set of [databases, starters, open]) set.clear()
})
afterAll(async () => {
  await (await startEmbeddedPostgres({ directory, logger: silentLogger })).stop()
  await rm(parent, { recursive: true })
})

async function start(at = directory): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ directory: at, logger: silentLogger })
  open.add(postgres)
  return postgres
}

function connect(url: string): Database {
  const pool = { url, max: 2, applicationName: 'test', onError: () => {}, timeouts: PATIENT }
  const db = createPostgres({ ...pool, systemRole: null })
  databases.add(db)
  return db
}

interface Started {
  readonly url: string
  readonly pid: number
  readonly adopted: boolean
}

/** Starts it in another process, which may then be killed. */
async function startElsewhere(): Promise<{ starter: ChildProcess; postgres: Started }> {
  const script = fileURLToPath(new URL('../../../test/support/embedded-starter.ts', import.meta.url))
  const starter = spawn(process.execPath, ['--import', 'tsx', script, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  starters.add(starter)
  if (!starter.stdout) throw new Error('no output')
  const [line] = await once(createInterface(starter.stdout), 'line')
  return { starter, postgres: JSON.parse(line) as Started }
}

async function kill(process: ChildProcess): Promise<void> {
  process.kill('SIGKILL')
  await once(process, 'exit')
}

const exitOf = (postgres: EmbeddedPostgres) => new Promise<void>((resolve) => postgres.onExit(resolve))
/** A zombie, which only waits for its parent to notice, is not alive. */
const isAlive = async (pid: number) => {
  const state = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  if (state !== '') return !/\) [ZX] /.test(state)
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('should have been refused'),
    (error: unknown) => (error instanceof AppError ? `${error.code}: ${error.message}` : expect.fail(String(error))),
  )

describe('an embedded cluster', () => {
  it('is made on the first start, keeps its rows and its port, and is durable', async () => {
    const first = await start()
    const db = connect(first.url)
    await db.execute(sql`create table kept (n int)`)
    await db.execute(sql`insert into kept values (1)`)
    const names = ['fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums', 'server_encoding']
    const settings = await db.query<{ setting: string }>(
      sql`select setting from pg_settings where name = any(${names}) order by name`,
    )
    expect(settings.map(({ setting }) => setting)).toEqual(['on', 'on', 'on', 'UTF8', 'on'])
    await db.close()
    await first.stop()
    expect(await isAlive(first.pid)).toBe(false)

    const second = await start()
    expect(second.adopted).toBe(false)
    expect(second.url).toBe(first.url)
    expect(await connect(second.url).query(sql`select n from kept`)).toEqual([{ n: 1 }])
  })

  it('keeps data and password from other accounts', async () => {
    await start()
    const modeOf = async (name: string) => (await stat(join(directory, name))).mode & 0o777
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    expect(await modeOf('postgres')).toBe(0o700)
    expect(await modeOf('postgres.json')).toBe(0o600)
    expect((await readdir(directory)).sort()).toEqual([
      'postgres',
      'postgres-start.log',
      'postgres.json',
      'postgres.lock',
    ])
  })

  it('does not let a wrong password in', async () => {
    const url = new URL((await start()).url)
    url.password = 'wrong'
    await expect(connect(url.href).query(sql`select 1`)).rejects.toThrow(/password authentication failed/)
  })

  it('takes another port when its own is taken', async () => {
    const first = await start()
    await first.stop()
    const { port } = new URL(first.url)
    const stranger = createServer().listen(Number(port), '127.0.0.1')
    await once(stranger, 'listening')
    const second = await start()
    expect(new URL(second.url).port).not.toBe(port)
    await connect(second.url).query(sql`select 1`)
    stranger.close()
  })
})

describe('one starter per directory', () => {
  it('refuses a second one and names the first', async () => {
    await start()
    expect(await refusal(start())).toMatch(new RegExp(`^postgres_directory_in_use: .*pid ${process.pid}`))
  })

  it('lets the next one in after a kill -9 of the first, and adopts the server it left', async () => {
    const { starter, postgres: left } = await startElsewhere()
    expect(await refusal(start())).toContain(`pid ${starter.pid}`)
    const before = connect(left.url)
    await before.execute(sql`create table adopted as select 1 as n`)
    await kill(starter)
    expect(await isAlive(left.pid)).toBe(true)

    const next = await start()
    expect(next).toMatchObject({ adopted: true, pid: left.pid, url: left.url })
    // The connection from before is still good: the server was never down.
    expect(await before.query(sql`select n from adopted`)).toEqual([{ n: 1 }])
    await next.stop()
    expect(await isAlive(left.pid)).toBe(false)
  })

  it('notices the end of a server that it adopted', async () => {
    const { starter, postgres: left } = await startElsewhere()
    await kill(starter)
    const next = await start()
    const exit = exitOf(next)
    process.kill(left.pid, 'SIGKILL')
    await exit
  })

  it('ends a server that was left with other settings, and starts its own', async () => {
    const { starter, postgres: left } = await startElsewhere()
    await kill(starter)
    await writeFile(join(directory, 'postgres', 'postmaster.opts'), 'postgres "-c" "port=1"\n')
    const next = await start()
    expect(next.adopted).toBe(false)
    expect(await isAlive(left.pid)).toBe(false)
  })
})

describe('a kill -9 of the server', () => {
  it('is told, and the next start has every committed row', async () => {
    const first = await start()
    const db = connect(first.url)
    await db.execute(sql`create table survived (n int primary key)`)
    let committed = 0
    const exit = exitOf(first)
    const writing = (async () => {
      for (;;) {
        await db.execute(sql`insert into survived values (${committed + 1})`)
        committed += 1
        if (committed === 50) process.kill(first.pid, 'SIGKILL')
      }
    })().catch((error: unknown) => error)
    await exit
    expect(isDatabaseUnavailable(await writing)).toBe(true)
    expect(committed).toBeGreaterThanOrEqual(50)

    const second = await start()
    expect(second.pid).not.toBe(first.pid)
    const [row] = await connect(second.url).query<{ n: number }>(sql`select count(*)::int as n from survived`)
    // One more may have been committed whose answer did not arrive.
    expect([committed, committed + 1]).toContain(row?.n)
    await first.stop()
  })

  it('is recognised by callers as a database that does not answer, and their pool heals by itself', async () => {
    const first = await start()
    const db = connect(first.url)
    let ready = 0
    await db.listen(
      'healing',
      () => {},
      () => {
        ready += 1
      },
    )
    const inTransaction = db.tx(async (tx) => {
      await tx.query(sql`select 1`)
      const exit = exitOf(first)
      process.kill(first.pid, 'SIGKILL')
      await exit
      await tx.query(sql`select 1`)
    })
    expect(await inTransaction.catch((error: unknown) => error)).toSatisfy(isDatabaseUnavailable)
    expect(await db.query(sql`select 1`).catch((error: unknown) => error)).toSatisfy(isDatabaseUnavailable)

    const second = await start()
    expect(second.url).toBe(first.url)
    expect(await db.query(sql`select 1 as one`)).toEqual([{ one: 1 }])
    await expect.poll(() => ready).toBe(2)
  })

  it('together with its starter heals at the next start', async () => {
    const { starter, postgres: left } = await startElsewhere()
    process.kill(left.pid, 'SIGKILL')
    await kill(starter)
    const next = await start()
    expect(next.adopted).toBe(false)
    await connect(next.url).query(sql`select 1`)
  })

  it('whose pid now belongs to a stranger hinders nothing and harms nobody', async () => {
    await (await start()).stop()
    const stranger = spawn('sleep', ['60'])
    const file = join(directory, 'postgres', 'postmaster.pid')
    await writeFile(file, `${stranger.pid}\n${join(directory, 'postgres')}\n1\n5432\n\n127.0.0.1\n0 0\nready\n`)
    await start()
    expect(stranger.exitCode).toBeNull()
    await kill(stranger)
  })
})

describe('a directory that is not ours', () => {
  let foreign: string
  beforeAll(async () => {
    foreign = join(parent, 'foreign')
  })
  afterEach(() => rm(foreign, { recursive: true, force: true }))

  async function fill(files: Record<string, string>): Promise<void> {
    await mkdir(join(foreign, 'postgres'), { recursive: true })
    for (const [name, text] of Object.entries(files)) await writeFile(join(foreign, 'postgres', name), text)
  }

  it('is refused when it holds other files, which stay', async () => {
    await fill({ 'thesis.txt': 'years of work' })
    expect(await refusal(start(foreign))).toMatch(/^postgres_directory_refused: .*not a PostgreSQL data directory/)
    expect(await readFile(join(foreign, 'postgres', 'thesis.txt'), 'utf8')).toBe('years of work')
    expect(await readdir(join(foreign, 'postgres'))).toEqual(['thesis.txt'])
  })

  it('is refused when another major version made it', async () => {
    await fill({ PG_VERSION: '15\n' })
    expect(await refusal(start(foreign))).toMatch(/^postgres_directory_refused: .*made by PostgreSQL 15/)
  })

  it('is refused when it is a cluster whose password we do not have', async () => {
    await fill({ PG_VERSION: '18\n' })
    expect(await refusal(start(foreign))).toMatch(/^postgres_directory_refused: .*postgres\.json/)
  })
})

describe('what an interrupted start leaves', () => {
  it('is thrown away by the next one, also in a path too long for a socket', async () => {
    const long = join(parent, 'x'.repeat(120), 'data')
    await mkdir(join(long, 'postgres.new', 'base'), { recursive: true })
    await writeFile(join(long, 'postgres.new', 'PG_VERSION'), '18\n')
    const postgres = await start(long)
    await connect(postgres.url).query(sql`select 1`)
    expect(await readdir(long)).not.toContain('postgres.new')
    expect(await refusal(start(long))).toContain(`pid ${process.pid}`)
  })
})

describe('library links', () => {
  it('are made where the install script of the package did not run', async () => {
    const native = join(parent, 'native')
    await mkdir(join(native, 'lib'), { recursive: true })
    const links = [
      { source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' },
      { source: 'native/lib/libz.so.1.2', target: 'native/lib/libz.so' },
    ]
    await writeFile(join(native, 'pg-symlinks.json'), JSON.stringify(links))
    await symlink('libz.so.1.2', join(native, 'lib', 'libz.so'))
    await ensureLinks(native)
    expect(await readlink(join(native, 'lib', 'libpq.so.5'))).toBe('libpq.so.5.18')
  })
})
