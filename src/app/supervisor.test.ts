import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../kernel/clock.js'
import { silentLogger } from '../kernel/logger.js'
import { createChildKeeper } from './child-keeper.js'
import { type Flags, readConfig } from './config.js'
import { forkChild } from './fork-child.js'
import { planProcesses } from './roles.js'
import { createSupervisor, type Supervisor } from './supervisor.js'

const fixture = (name: string) => fileURLToPath(new URL(`../../test/support/children/${name}`, import.meta.url))
const TSX = ['--import', 'tsx']
const DEADLINE_MS = 60_000

let directory: string
let diary: string
const supervisors: Supervisor[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mirante-supervisor-'))
  diary = join(directory, 'diary')
})

afterEach(async () => {
  for (const supervisor of supervisors.splice(0)) await supervisor.stop()
  rmSync(directory, { recursive: true })
})

interface Line {
  readonly name: string
  readonly what: string
  readonly pid: number
}

function lines(): Line[] {
  let text = ''
  try {
    text = readFileSync(diary, 'utf8')
  } catch {
    return []
  }
  return text
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([name = '', what = '', pid]) => ({ name, what, pid: Number(pid) }))
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not in time; the diary says ${JSON.stringify(lines())}`)
    await delay(10)
  }
}

const starts = (name: string) => lines().filter((line) => line.name === name && line.what === 'started')

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function supervise(flags: Flags = {}): { supervisor: Supervisor; finals: string[] } {
  const finals: string[] = []
  const given = { DATABASE_URL: 'postgres://nowhere/x', ENCRYPTION_KEY: '00'.repeat(32), SESSION_STORAGE_PATH: diary }
  const supervisor = createSupervisor({
    config: readConfig({ ...given, ...flags }, {}),
    plans: planProcesses({ roles: ['web', 'gateway', 'worker'], gateways: 1, single: false }),
    clock: systemClock,
    logger: silentLogger,
    makeRunner: (plan, hooks) =>
      createChildKeeper({
        ...hooks,
        plan,
        module: fixture('obedient.ts'),
        execArgv: TSX,
        clock: systemClock,
        random: Math.random,
        logger: silentLogger,
      }),
    startEmbedded: () => Promise.reject(new Error('not asked for')),
    prepareDatabase: () => Promise.resolve({ newApiKey: 'mir_x' }),
    onFinal: (message) => finals.push(message),
  })
  supervisors.push(supervisor)
  return { supervisor, finals }
}

test('start resolves when every process serves, with the address of the web role', async () => {
  const serving = await supervise().supervisor.start()
  expect(serving).toEqual({ url: 'http://fixture', newApiKey: 'mir_x' })
  expect(lines().map(({ name }) => name)).toEqual(expect.arrayContaining(['web', 'gateway-0']))
})

test('a child that is killed is started again with the same roles, and the others stay', async () => {
  await supervise().supervisor.start()
  const [gateway] = starts('gateway-0')
  process.kill(gateway?.pid ?? 0, 'SIGKILL')
  await until(() => starts('gateway-0').length === 2)
  expect(starts('web')).toHaveLength(1)
})

test('stop lets every child end in peace, and none is started again', async () => {
  const { supervisor } = supervise()
  await supervisor.start()
  await supervisor.stop()
  expect(lines().filter(({ what }) => what === 'stopped')).toHaveLength(2)
  expect(lines().filter(({ pid }) => lives(pid))).toEqual([])
})

test('stop during the start ends what was launched', async () => {
  const { supervisor } = supervise()
  const starting = supervisor.start()
  const refused = expect(starting).rejects.toThrow()
  await supervisor.stop()
  await refused
  expect(lines().filter(({ pid }) => lives(pid))).toEqual([])
})

function keep(name: string) {
  const [plan] = planProcesses({ roles: ['gateway'], gateways: 1, single: false })
  if (!plan) throw new Error('no plan')
  const early = forkChild(plan, fixture(name), TSX)
  const keeper = createChildKeeper({
    plan,
    early,
    module: fixture(name),
    execArgv: TSX,
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    onReady: () => {},
    onFinal: () => {},
  })
  return { plan, early, keeper }
}

test('a child that cannot be reached, again and again, is neither given up nor started twice', async () => {
  const { early, keeper } = keep('obedient.ts')
  keeper.launch()
  early.emit('error', new Error('write EPIPE'))
  early.emit('error', new Error('write EPIPE'))
  expect(early.exitCode).toBeNull()
  keeper.kill()
  await keeper.stop(DEADLINE_MS)
  expect(lives(early.pid ?? 0)).toBe(false)
})

test('a keeper that was stopped begins nothing', async () => {
  const { plan, early, keeper } = keep('obedient.ts')
  await keeper.stop(0)
  const config = { ...readConfig({}, {}), databaseUrl: 'postgres://nowhere/x', encryptionKey: Buffer.alloc(32) }
  keeper.begin({ type: 'start', config, plan })
  keeper.launch()
  expect(early.listenerCount('message')).toBe(0)
  early.kill('SIGKILL')
})

test('kill ends children that do not stop', async () => {
  const { supervisor } = supervise({ REPLICA_NAME: 'never-stops' })
  await supervisor.start()
  const stopped = supervisor.stop()
  await until(() => lines().filter(({ what }) => what === 'stopped').length === 2)
  supervisor.kill()
  await stopped
  expect(lines().filter(({ pid }) => lives(pid))).toEqual([])
})

test('a port that is in use is told in a sentence, not tried for ever', async () => {
  const { supervisor, finals } = supervise({ REPLICA_NAME: 'port-taken' })
  void supervisor.start().catch(() => {})
  await until(() => finals.length > 0)
  expect(finals[0]).toBe('Port 3000 is in use by another program. End it, or set PORT to a free one.')
})

test('kill -9 of the supervisor ends its children', async () => {
  const supervisor = spawn(process.execPath, [...TSX, fixture('supervise.ts'), diary], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((resolve) => supervisor.stdout.once('data', resolve))
  const children = lines().map(({ pid }) => pid)
  expect(children).toHaveLength(3)
  expect(children.every(lives)).toBe(true)
  supervisor.kill('SIGKILL')
  await until(() => !children.some(lives))
})

test('a child that is told SIGTERM by somebody else stops in peace and comes back', async () => {
  await supervise().supervisor.start()
  process.kill(starts('web')[0]?.pid ?? 0, 'SIGTERM')
  await until(() => starts('web').length === 2)
  expect(lines().filter(({ name, what }) => name === 'web' && what === 'stopped')).toHaveLength(1)
})
