/** The commands of whoever runs Mirante: doctor, dlq, trigger, cluster, config explain. */

import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { DEFAULT_TENANT_ID } from '../../src/features/tenants/tenant.js'
import { createIdGenerator, type JobId, publicId } from '../../src/kernel/ids.js'
import type { Database } from '../../src/platform/database/database.js'
import { createPostgres } from '../../src/platform/database/postgres.js'
import { type Cluster, createDatabases, startCluster } from '../support/cluster.js'
import { commandRunner, type Ended, jsonLines } from '../support/command.js'
import { PATIENT } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import {
  freePort,
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
  TEST_API_KEY,
} from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { atTerminal, hasScript } from '../support/terminal.js'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

const ids = createIdGenerator()
/** A server of its own: how many connections others have is part of what the doctor says. */
let cluster: Cluster
let databaseUrl: string
let db: Database
let simulator: SimulatorProcess
let product: MiranteProcess
let receiver: WebhookReceiver
let instanceId: string
/** What the server was started with, and what the doctor therefore sees. */
let settings: Record<string, string>
const mirante = commandRunner(() => settings)

beforeAll(async () => {
  cluster = await startCluster()
  databaseUrl = (await createDatabases(cluster.url, ['mirante'])).mirante
  simulator = await launchSimulator(['--latency-ms', '10'])
  receiver = await startWebhookReceiver()
  product = await launchMirante({ simulator, env: { DATABASE_URL: databaseUrl } })
  instanceId = await pairByQr(product, simulator, 'support')
  db = createPostgres({ url: databaseUrl, max: 2, applicationName: 'test', onError: () => {}, timeouts: PATIENT })
  const { port } = new URL(product.url)
  settings = {
    ...{ HOST: '127.0.0.1', PORT: port, SESSION_STORAGE_PATH: product.directory, DATABASE_URL: databaseUrl },
    ...{ WHATSAPP_WEB_URL: simulator.wsUrl, WHATSAPP_ROOT_KEY: simulator.rootPublicKeyHex },
    ...{ MIRANTE_URL: product.url, MIRANTE_API_KEY: TEST_API_KEY },
  }
})

afterEach(mirante.stopAll)

afterAll(async () => {
  await db?.close()
  await product?.stop()
  await receiver?.stop()
  await simulator?.stop()
  await cluster?.stop()
})

/** Runs with some of the settings changed; undefined takes one away. */
async function miranteWith(changes: Record<string, string | undefined>, ...args: readonly string[]): Promise<Ended> {
  const kept = Object.entries({ ...settings, ...changes }).filter(([, value]) => value !== undefined)
  const run = commandRunner(() => Object.fromEntries(kept) as Record<string, string>)
  return run(...args).ended
}

interface Finding {
  readonly check: string
  readonly level: 'ok' | 'warning' | 'problem'
  readonly found: string
  readonly action: string | null
}

interface Report {
  readonly ok: boolean
  readonly checks: readonly Finding[]
}

async function doctorWith(changes: Record<string, string | undefined>) {
  const { code, stdout, stderr } = await miranteWith(changes, 'doctor', '--json')
  expect(stderr).not.toMatch(/^ +at /m)
  const report = JSON.parse(stdout) as Report
  const problems = report.checks.filter(({ level }) => level === 'problem')
  // Whatever is wrong, the next action is named; what is well needs none.
  for (const { level, action } of report.checks) expect(action === null).toBe(level === 'ok')
  expect({ ok: report.ok, code }).toEqual(problems.length === 0 ? { ok: true, code: 0 } : { ok: false, code: 4 })
  return { report, problems, of: (check: string) => report.checks.filter((finding) => finding.check === check) }
}

describe('doctor', () => {
  test('finds no problem where there is none, and says what it looked at', async () => {
    const { problems, of } = await doctorWith({})
    expect(problems).toEqual([])
    for (const check of [
      ...['data-directory', 'disk', 'settings', 'encryption-key', 'database', 'database-version', 'migrations'],
      ...['key-fits', 'clock', 'connections', 'whatsapp', 'server', 'readyz', 'cluster', 'instances', 'webhooks'],
    ]) {
      expect(of(check), check).toMatchObject([{ level: 'ok' }])
    }
    expect(of('simulator')).toMatchObject([{ level: 'warning' }])
  })

  test('speaks to a person in lines, and shows no secret', async () => {
    const { code, stdout } = await mirante('doctor').ended
    expect(code).toBe(0)
    expect(stdout).toMatch(/^Database\n {2}✓ ok +database /m)
    expect(stdout).toMatch(/^ {6}→ For real use unset WHATSAPP_WEB_URL/m)
    expect(stdout).toMatch(/^\d+ ok, \d+ warnings?, 0 problems$/m)
    expect(stdout).not.toContain('\u001B')
    const { username, password } = new URL(databaseUrl)
    for (const secret of [TEST_API_KEY, password && `${username}:${password}`]) {
      if (secret) expect(stdout).not.toContain(secret)
    }
  })

  test('works where nothing runs and nothing is set', async () => {
    const nothing = Object.fromEntries(Object.keys(settings).map((name) => [name, undefined]))
    const directory = join(product.directory, 'not-there-yet')
    const changes = { ...nothing, SESSION_STORAGE_PATH: directory, PORT: String(await freePort()) }
    const simulated = { WHATSAPP_WEB_URL: settings.WHATSAPP_WEB_URL, WHATSAPP_ROOT_KEY: settings.WHATSAPP_ROOT_KEY }
    const { problems, of } = await doctorWith({ ...changes, ...simulated })
    expect(problems).toEqual([])
    expect(of('port')).toMatchObject([{ level: 'ok' }])
    expect(of('server')).toMatchObject([{ level: 'warning', action: 'Start it: mirante serve' }])
    expect(of('data-directory')[0]?.found).toContain('the first start makes it')
  })

  test.each<[string, string, () => Record<string, string | undefined>]>([
    ['settings', 'PORT must be', () => ({ PORT: 'x', GATEWAYS: 'many' })],
    ['data-directory', 'is no directory', () => ({ SESSION_STORAGE_PATH: join(product.directory, 'encryption-key') })],
    ['encryption-key', 'is not a key', () => ({ SESSION_STORAGE_PATH: directoryWithWrongKey() })],
    ['key-fits', 'does not open', () => ({ ENCRYPTION_KEY: randomBytes(32).toString('hex') })],
    ['database', 'ECONNREFUSED', () => ({ DATABASE_URL: 'postgres://nobody@127.0.0.1:9/nothing' })],
    ['database', 'does not exist', () => ({ DATABASE_URL: `${databaseUrl}_not` })],
    ['whatsapp', 'ECONNREFUSED', () => ({ WHATSAPP_WEB_URL: 'ws://127.0.0.1:9/ws/chat' })],
    ['server', 'nothing answers', () => ({ MIRANTE_URL: 'http://127.0.0.1:9' })],
    ['server', 'is not Mirante', () => ({ MIRANTE_URL: simulator.httpUrl })],
    ['api-key', '(unauthenticated)', () => ({ MIRANTE_API_KEY: 'wrong' })],
  ])('%s: names what is wrong (%s)', async (check, words, changes) => {
    const { of } = await doctorWith(changes())
    const wrong = of(check).filter(({ level }) => level === 'problem')
    expect(wrong.map(({ found }) => found).join()).toContain(words)
  })

  test('lists all that is wrong with the settings at once', async () => {
    const { of } = await doctorWith({ PORT: 'x', GATEWAYS: 'many', LOG_LEVEL: 'loud' })
    expect(of('settings').map(({ found }) => found.split(' ')[0])).toEqual(['PORT', 'LOG_LEVEL', 'GATEWAYS'])
  })

  test('tells a port that another program has from one that is free', async () => {
    const other = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const PORT = String((other.address() as AddressInfo).port)
    const { of } = await doctorWith({ PORT, MIRANTE_URL: undefined })
    expect(of('port')).toMatchObject([{ level: 'problem', found: expect.stringContaining('another program') }])
    other.close()
    other.closeAllConnections()
  })

  test('warns of an encryption key that others may read', async () => {
    const file = join(product.directory, 'encryption-key')
    chmodSync(file, 0o644)
    const { of } = await doctorWith({})
    chmodSync(file, 0o600)
    expect(of('encryption-key')).toMatchObject([{ level: 'warning', action: `chmod 600 ${file}` }])
  })

  test('names the numbers that are not connected, and what their owner can do', async () => {
    await product.api('POST', '/api/instances', { body: { name: 'unscanned' } })
    await eventually(async () => {
      const { of } = await doctorWith({})
      return of('instance').some(
        ({ found, action }) => /unscanned is QR_REQUIRED/.test(found) && /mirante qr/.test(`${action}`),
      )
    }, 'the number that waits for its QR is named')
  })
})

/** A folder whose key file holds something else. */
function directoryWithWrongKey(): string {
  const directory = mkdtempSync(join(product.directory, 'wrong-'))
  writeFileSync(join(directory, 'encryption-key'), 'not a key')
  return directory
}

async function buryJob(): Promise<string> {
  const id: JobId = ids.next('job')
  const [event] = await db.query<{ id: string }>(
    sql`select id from event where tenant_id = ${DEFAULT_TENANT_ID} limit 1`,
  )
  await db.execute(sql`
    insert into job (id, tenant_id, kind, subject_id, state, attempt, error, died_at)
    values (${id}, ${DEFAULT_TENANT_ID}, 'fan-out', ${event?.id}, 'dead', 3, ${'it broke\nat a line'}, now())`)
  return publicId('job', id)
}

describe('dlq', () => {
  test('lists, shows and retries; the doctor tells of it', async () => {
    expect(await mirante('dlq', 'list').ended).toEqual({ code: 0, stdout: '', stderr: 'There are no dead letters.\n' })
    const id = await buryJob()
    expect((await doctorWith({})).of('dead-letters')).toMatchObject([{ level: 'problem', found: '1 fan-out' }])
    const list = await mirante('dlq', 'list').ended
    expect(list.stdout).toMatch(new RegExp(`^ID +KIND.*\n${id} +fan-out +evt_\\w+ +3 +\\S+ +it broke\n$`))
    expect(jsonLines((await mirante('dlq', 'list', '--json').ended).stdout)).toMatchObject([{ id, kind: 'fan-out' }])
    expect((await mirante('dlq', 'list', '--kind=deliver-webhook').ended).stdout).toBe('')
    expect((await mirante('dlq', 'show', id).ended).stdout).toMatch(/^error +it broke$/m)
    expect(await mirante('dlq', 'retry', id).ended).toEqual({ code: 0, stdout: `${id} tried again\n`, stderr: '' })
    await eventually(async () => (await mirante('dlq', 'list', '--json').ended).stdout === '', 'it is dead no longer')
  })

  test('asks before it discards, and does nothing where nobody can answer', async () => {
    const id = await buryJob()
    expect(await mirante('dlq', 'discard', id).ended).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('There is no terminal to ask on: add --yes'),
    })
    expect((await mirante('dlq', 'list', '--json').ended).stdout).toContain(id)
    expect(await mirante('dlq', 'discard', id, '--yes').ended).toMatchObject({ code: 0, stdout: `${id} discarded\n` })
    expect((await mirante('dlq', 'list', '--json').ended).stdout).toBe('')
  })

  test.skipIf(!hasScript).each([
    ['y\r', 0, 'discarded'],
    ['n\r', 1, 'Nothing was done.'],
    ['\r', 1, 'Nothing was done.'],
    // Ctrl-C and Ctrl-D.
    ['\u0003', 1, 'Nothing was done.'],
    ['\u0004', 1, 'Nothing was done.'],
  ])('on a terminal takes %j for an answer (skipped without script(1))', async (typed, code, said) => {
    const id = await buryJob()
    const ended = await atTerminal(['dlq', 'discard', id], [[/\[y\/N\]/, typed]], { environment: settings })
    expect(ended).toEqual({ code, output: expect.stringContaining(said) })
    expect(ended.output).not.toMatch(/Warning|^ +at /m)
    expect((await mirante('dlq', 'list', '--json').ended).stdout.includes(id)).toBe(code !== 0)
    await mirante('dlq', 'discard', '--all', '--yes').ended
  })

  test('takes all of a kind, and leaves the others', async () => {
    const [older, newer] = [await buryJob(), await buryJob()]
    const others = await mirante('dlq', 'discard', '--all', '--kind=deliver-webhook', '--yes').ended
    expect(others).toEqual({ code: 0, stdout: '', stderr: 'There are no dead letters.\n' })
    expect((await mirante('dlq', 'retry', '--all').ended).code).toBe(2)
    const all = await mirante('dlq', 'discard', '--all', '--kind=fan-out', '--yes', '--json').ended
    expect(jsonLines(all.stdout)).toEqual([newer, older].map((id) => ({ id, done: 'discard' })))
    expect(all).toMatchObject({ code: 0, stderr: '2 of 2 discarded\n' })
  })

  test('says so when there is no such dead letter', async () => {
    const id = publicId('job', ids.next('job'))
    expect(await mirante('dlq', 'show', id).ended).toMatchObject({ code: 1, stderr: expect.stringContaining(id) })
  })
})

describe('trigger', () => {
  test('without an endpoint says how to make one', async () => {
    const { code, stderr } = await mirante('trigger', 'webhook.tested').ended
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('mirante webhooks add') })
  })

  test('sends a real event once more, under its own id, and makes none up', async () => {
    const { body } = await product.api('POST', '/api/webhooks', {
      body: { url: receiver.at('/again'), events: ['message.sent'] },
    })
    receiver.trust(body.secret)
    const none = await mirante('trigger', 'message.sent', '--endpoint', body.id).ended
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('none is made up') })
    await simulator.admin('POST', '/admin/contacts', { phones: ['5511912345678'] })
    expect((await mirante('send', 'support', '+5511912345678', 'hello').ended).code).toBe(0)
    const sent = () => receiver.verified.filter(({ path }) => path === '/again')
    await receiver.waitFor(() => sent().length === 1, 'the event')
    const again = await mirante('trigger', 'message.sent', '--endpoint', body.id).ended
    expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/delivered {2}HTTP 200/) })
    const [first, second, ...more] = sent()
    expect({ id: second?.id, body: second?.body, more }).toEqual({ id: first?.id, body: first?.body, more: [] })
    expect((await product.api('DELETE', `/api/webhooks/${body.id}`)).status).toBe(204)
  })

  test('shows what the only endpoint answers, and the doctor tells of one that fails', async () => {
    const { body } = await product.api('POST', '/api/webhooks', {
      body: { url: receiver.url, events: ['webhook.tested'] },
    })
    receiver.trust(body.secret)
    const good = await mirante('trigger', 'webhook.tested').ended
    expect(good).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^dlv_\w+ {2}delivered {2}HTTP 200 {2}\d+ ms\n$/),
    })
    receiver.answerWith({ status: 500, body: 'out of order' })
    const bad = await mirante('trigger', 'webhook.tested', '--endpoint', body.id).ended
    expect(bad.code).toBe(1)
    expect(bad.stdout).toMatch(/pending {2}HTTP 500 {2}\d+ ms {2}next try at \S+ {2}it said: out of order$/m)
    const { of } = await doctorWith({})
    expect(of('webhooks')).toMatchObject([{ level: 'problem', found: expect.stringContaining(body.id) }])
    receiver.answerWith(200)

    await product.api('POST', '/api/webhooks', { body: { url: receiver.at('/second'), events: ['webhook.tested'] } })
    expect(await mirante('trigger', 'webhook.tested').ended).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('name one with --endpoint'),
    })
  })
})

test('cluster shows the processes and who holds the number', async () => {
  const { code, stdout } = await mirante('cluster').ended
  expect(code).toBe(0)
  expect(stdout).toMatch(/^PROCESS +STATE +UP +VERSION +HOLDS +OPEN +MEMORY +REPORTED +WITHOUT$/m)
  expect(stdout).toMatch(/^\S+\/gateway\/0 +alive +\d+ \w+ +\d+\.\d+\.\d+ +\d+ of 200 +\d +\d+ MiB +\d+ s ago$/m)
  expect(stdout).toMatch(new RegExp(`^support \\(${instanceId}\\) +\\S+/gateway/0 +\\d+ +\\d+ \\w+$`, 'm'))
  expect(stdout).toMatch(/^postgres +\w+ +[\d.]+ ms +\d/m)
  const json = JSON.parse((await mirante('cluster', '--json').ended).stdout) as { leases: { resource: string }[] }
  expect(json.leases.map(({ resource }) => resource)).toEqual(expect.arrayContaining(['instance', 'scheduler']))
})

test('cluster history shows who held the number, and an order that cannot be carried out says why', async () => {
  const history = await mirante('cluster', 'history', 'support').ended
  expect(history.code).toBe(0)
  expect(history.stdout).toMatch(/^EPOCH +HOLDER +TAKEN +HOW +ENDED +WHY$/m)
  expect(history.stdout).toMatch(/^1 +\S+\/gateway\/0 +\S+Z +free/m)
  expect(await mirante('cluster', 'move', 'support').ended).toMatchObject({
    ...{ code: 1, stderr: expect.stringContaining('There is no other gateway.') },
  })
  expect(await mirante('cluster', 'drain', 'nobody').ended).toMatchObject({
    ...{ code: 1, stderr: expect.stringContaining('No replica is called nobody.') },
  })
  expect((await mirante('cluster', '--help').ended).stdout).toContain('undrain')
})

test('config explain shows what is in effect and hides secrets', async () => {
  const all = await mirante('config', 'explain', '--json', '--log-level=error').ended
  expect(all.code).toBe(0)
  expect(all.stdout).not.toContain(TEST_API_KEY)
  expect(all.stdout).not.toContain(databaseUrl)
  const rows = JSON.parse(all.stdout) as { name: string }[]
  const row = (name: string) => rows.find((one) => one.name === name)
  expect(row('LOG_LEVEL')).toMatchObject({ value: 'error', source: 'flag', from: '--log-level' })
  expect(row('MIRANTE_URL')).toMatchObject({ value: product.url, source: 'environment' })
  expect(row('DATABASE_URL')).toMatchObject({ value: '(hidden)', source: 'environment' })
  const one = await miranteWith({ PORT: 'x' }, 'config', 'explain', 'port')
  expect(one).toMatchObject({ code: 4, stdout: expect.stringMatching(/^PORT\nThe port on which/) })
  expect(one.stderr).toContain('PORT must be a whole number')
})

test('instances are completed by their names, and by nothing where nobody answers', async () => {
  expect((await mirante('complete-instances').ended).stdout.split('\n')).toContain('support')
  expect(await miranteWith({ MIRANTE_URL: 'http://127.0.0.1:9' }, 'complete-instances')).toEqual({
    ...{ code: 0, stdout: '', stderr: '' },
  })
})
