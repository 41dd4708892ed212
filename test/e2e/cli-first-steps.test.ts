/** From nothing to webhooks with commands alone: init, serve, instances, webhooks. They find one another through `.env`. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commandRunner, jsonLines } from '../support/command.js'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import { freePort } from '../support/launch.js'
import { atTerminal, hasScript } from '../support/terminal.js'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

let directory: string
let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let receiver: WebhookReceiver
let initialized: { file: string; url: string; apiKey: string }
/** Nothing of Mirante in the environment: all that the commands know is in the directory. */
const mirante = commandRunner(
  () => ({}),
  () => directory,
)

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mirante-first-steps-'))
  database = await createEmptyDatabase()
  receiver = await startWebhookReceiver()
  writeFileSync(join(directory, 'database-url'), database.url)
  const port = String(await freePort())
  const { stdout } = await mirante('init', '--yes', '--json', `--port=${port}`, '--database-url-file=database-url')
    .ended
  initialized = JSON.parse(stdout)
  const serving = mirante('serve', '--egress-allow=127.0.0.1/32', '--single', '--roles=web,worker,scheduler')
  await serving.says(/is ready/)
})

afterAll(async () => {
  mirante.stopAll()
  await eventually(async () => {
    const answers = await fetch(initialized.url).catch(() => undefined)
    return answers === undefined
  }, 'Mirante has ended')
  await receiver?.stop()
  await database?.drop()
  rmSync(directory, { recursive: true, force: true })
})

describe('init', () => {
  test('writes a file that nobody else may read, with the key that it shows', () => {
    const content = readFileSync(join(directory, '.env'), 'utf8')
    expect(statSync(join(directory, '.env')).mode & 0o777).toBe(0o600)
    expect(initialized).toMatchObject({ file: join(directory, '.env'), apiKey: expect.stringMatching(/^[\w-]{43}$/) })
    expect(content).toContain(`BOOTSTRAP_API_KEY=${initialized.apiKey}\n`)
    expect(content).toContain('HOST=127.0.0.1\n')
  })

  test('leaves a file alone that is there', async () => {
    const before = readFileSync(join(directory, '.env'), 'utf8')
    const { code, stderr } = await mirante('init', '--yes').ended
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('was left as it is') })
    expect(readFileSync(join(directory, '.env'), 'utf8')).toBe(before)
  })

  test('does not ask where nobody can answer, and refuses what cannot be used', async () => {
    expect(await mirante('init').ended).toMatchObject({ code: 2, stderr: expect.stringContaining('add --yes') })
    expect(await mirante('init', '--yes', '--port=http').ended).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--port must be a whole number'),
    })
  })

  test.skipIf(!hasScript)('asks until the answers can be used (skipped without script(1))', async () => {
    const elsewhere = mkdtempSync(join(directory, 'asked-'))
    const talk = [
      [/Who may reach[^\n]*: /, '0.0.0.0\r'],
      [/Port of the API \[3000\]: /, 'http\r'],
      [/It must be a whole number[\s\S]*Port of the API[^\n]*: /, '8080\r'],
      [/PostgreSQL[^\n]*: /, '\r'],
    ] as const
    const { code, output } = await atTerminal(['init'], talk, { directory: elsewhere })
    expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining('shown once') })
    const content = readFileSync(join(elsewhere, '.env'), 'utf8')
    expect(content).toContain('HOST=0.0.0.0\nPORT=8080\n\n')
    expect(content).toContain('MIRANTE_URL=http://127.0.0.1:8080\n')
  })

  test.skipIf(!hasScript)('writes nothing when it is interrupted (skipped without script(1))', async () => {
    const elsewhere = mkdtempSync(join(directory, 'interrupted-'))
    const { code, output } = await atTerminal(['init'], [[/Who may reach[^\n]*: /, '\u0003']], { directory: elsewhere })
    expect({ code, output }).toEqual({ code: 1, output: expect.stringContaining('Nothing was written.') })
    expect(readdirSync(elsewhere)).toEqual([])
  })

  test('what it wrote is told as coming from there', async () => {
    const { stdout } = await mirante('config', 'explain', 'HOST', '--json').ended
    expect(JSON.parse(stdout)).toMatchObject({ value: '127.0.0.1', source: 'env-file', from: 'HOST in .env' })
  })
})

describe('instances', () => {
  test('are made and listed, and a name that there is not leads to both', async () => {
    const none = await mirante('qr', 'support').ended
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('mirante instances create') })
    expect(await mirante('instances', 'list').ended).toMatchObject({ code: 0, stdout: '' })
    const made = await mirante('instances', 'create', 'support').ended
    expect(made).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^ins_\w+\n$/),
      stderr: expect.stringContaining('mirante qr support'),
    })
    const list = await mirante('instances', 'list').ended
    expect(list.stdout).toMatch(new RegExp(`^NAME .*\nsupport +[A-Z_]+ .*${made.stdout.trim()}\n$`))
    const [listed] = jsonLines((await mirante('instances', 'list', '--json').ended).stdout)
    expect(listed).toMatchObject({ id: made.stdout.trim(), name: 'support' })
  })
})

describe('webhooks', () => {
  test('an endpoint is added, listed, and sent once more what was recorded', async () => {
    expect(await mirante('webhooks', 'list').ended).toMatchObject({ code: 0, stdout: '' })
    const added = await mirante('webhooks', 'add', receiver.url, '--events=webhook.tested', '--json').ended
    expect(added.code).toBe(0)
    const { id, secret } = JSON.parse(added.stdout) as { id: string; secret: string }
    receiver.trust(secret)
    expect((await mirante('webhooks', 'list').ended).stdout).toMatch(new RegExp(`^${id} +well +webhook\\.tested `, 'm'))
    const refused = await mirante('webhooks', 'add', 'http://10.0.0.1/hook').ended
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('mirante listen --forward-to') })
    expect((await mirante('trigger', 'webhook.tested').ended).code).toBe(0)

    const range = ['webhooks', 'replay', '--since=1h', '--json']
    expect(await mirante(...range, '--dry-run').ended).toMatchObject({
      code: 0,
      stdout: `${JSON.stringify({ endpoint: id, count: 1, dryRun: true })}\n`,
    })
    expect(await mirante(...range).ended).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`Deliver 1 event again to ${id}? There is no terminal to ask on`),
    })
    expect(receiver.verified).toHaveLength(1)
    expect(JSON.parse((await mirante(...range, '--yes').ended).stdout)).toMatchObject({ count: 1, dryRun: false })
    await receiver.waitFor(() => receiver.verified.length === 2, 'the event has come again')
    expect(receiver.verified[1]?.id).toBe(receiver.verified[0]?.id)

    const failed = await mirante('webhooks', 'replay', '--since=1h', '--failed').ended
    expect(failed).toMatchObject({ code: 0, stdout: `0 events would be delivered again to ${id}\n` })
  })
})
