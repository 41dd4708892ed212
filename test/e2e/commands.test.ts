import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { errorCatalogue } from '../../src/kernel/errors.js'
import { codeVersion } from '../../src/platform/database/migrate.js'
import { commandRunner } from '../support/command.js'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import {
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
  TEST_API_KEY,
} from '../support/launch.js'

const MAIN = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))
const OWNER = '5511987654321'
const CONTACT = '5511912345678'
const TYPIST = '5511955554444'

let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let product: MiranteProcess
const mirante = commandRunner(() => ({ MIRANTE_URL: product.url, MIRANTE_API_KEY: TEST_API_KEY }))

beforeAll(async () => {
  database = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '10'])
  product = await launchMirante({ simulator, env: { DATABASE_URL: database.url } })
  await simulator.admin('POST', '/admin/contacts', { phones: [CONTACT], receipts: 'read' })
})

afterEach(mirante.stopAll)

afterAll(async () => {
  await product?.stop()
  await simulator?.stop()
  await database?.drop()
})

test('qr shows the code, follows it until the phone is connected, and ends', async () => {
  await product.api('POST', '/api/instances', { body: { name: 'support' } })
  const qr = mirante('qr', 'support', '--json')
  const [, code] = await qr.says(/"code":"([^"]+)"/)
  await simulator.admin('POST', `/admin/mock-phone/scan-qr?phone=${OWNER}`, code)
  const { code: exitCode, stdout } = await qr.ended
  expect(exitCode).toBe(0)
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { connectionStatus?: string })
  expect(lines.at(-1)).toMatchObject({ connectionStatus: 'CONNECTED' })
})

test('qr of a number that is connected already just says so', async () => {
  expect(await mirante('qr', 'support').ended).toMatchObject({ code: 0, stdout: '', stderr: 'CONNECTED\n' })
})

test('qr --pairing-code shows a code to type, and ends when the phone is connected', async () => {
  await product.api('POST', '/api/instances', { body: { name: 'typed' } })
  const qr = mirante('qr', 'typed', `--pairing-code=+${TYPIST}`)
  const [code] = await qr.says(/^[0-9A-Z]{4}-[0-9A-Z]{4}$/m)
  await simulator.admin('POST', '/admin/mock-phone/enter-code', { phone: TYPIST, code })
  const { code: exitCode, stdout, stderr } = await qr.ended
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${code}\n` })
  expect(stderr).toContain('Link with phone number')
  expect(stderr.trimEnd().split('\n').at(-1)).toBe('CONNECTED')
})

test('qr --pairing-code of what is no phone number fails with its sentence', async () => {
  await product.api('POST', '/api/instances', { body: { name: 'mistyped' } })
  const { code, stderr, stdout } = await mirante('qr', 'mistyped', '--pairing-code=nonsense').ended
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toContain('(invalid_number)')
})

test('send waits for the server when it is asked to', async () => {
  const { code, stdout } = await mirante('send', 'support', `+${CONTACT}`, 'from the shell', '--wait', '--json').ended
  expect(code).toBe(0)
  expect(['sent', 'delivered', 'read']).toContain((JSON.parse(stdout) as { status: string }).status)
})

test('send to a number that is not one fails with its sentence', async () => {
  const { code, stderr, stdout } = await mirante('send', 'support', '123', 'hello').ended
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toContain('(invalid_number)')
})

test('an instance that does not exist is named', async () => {
  const stderr = 'There is no instance called sales. See: mirante instances list, mirante instances create\n'
  expect(await mirante('qr', 'sales').ended).toMatchObject({ code: 1, stderr })
})

test('tail ends in peace on Ctrl-C', async () => {
  const tail = mirante('tail')
  await tail.complains(/following/)
  tail.interrupt()
  expect(await tail.ended).toEqual({ code: 0, stdout: expect.any(String), stderr: 'following; Ctrl-C ends\n' })
})

test('a reader that has enough ends a command without complaint', async () => {
  const main = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))
  const script = `${process.execPath} ${main} tail --type=message.received | head -1; echo "code \${PIPESTATUS[0]}"`
  const env = { PATH: process.env.PATH, MIRANTE_URL: product.url, MIRANTE_API_KEY: TEST_API_KEY }
  const child = spawn('bash', ['-c', script], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const read = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (data) => (read[name] += String(data)))
  const ended = new Promise((resolve) => child.once('close', resolve))
  await eventually(() => read.stderr.includes('following'), 'it follows')
  const write = () => simulator.admin('POST', `/admin/contacts/${CONTACT}/send`, { to: OWNER, text: 'x' })
  await write()
  await eventually(() => read.stdout.includes('message.received'), 'the first line')
  await write()
  await ended
  expect(read).toEqual({
    stdout: expect.stringMatching(/^\S+ {2}message\.received.*\ncode 0\n$/),
    stderr: 'following; Ctrl-C ends\n',
  })
})

test('a refusal says what to do, and where it comes from with --debug only', async () => {
  const refused = ['send', 'support', '123', 'hello']
  const plain = await mirante(...refused).ended
  expect(plain.stderr).toContain(errorCatalogue.invalid_number.action)
  expect(plain.stderr).not.toMatch(/^ +at /m)
  const debugged = await mirante(...refused, '--debug').ended
  expect(debugged).toMatchObject({ code: 1, stderr: expect.stringMatching(/^ +at /m) })
})

test('tail shows what happens, as one JSON object a line, filtered', async () => {
  const tail = mirante('tail', '--instance=support', '--type=message.received', '--json')
  await tail.complains(/following/)
  await simulator.admin('POST', `/admin/contacts/${CONTACT}/send`, { to: OWNER, text: 'heard?' })
  const [line] = await tail.says(/^\{.*\}$/m)
  expect(JSON.parse(line)).toMatchObject({ type: 'message.received', data: { text: { body: 'heard?' } } })
})

test('migrate finds nothing to do on a database that is up to date', async () => {
  const child = spawn(process.execPath, [MAIN, 'migrate', '--json'], {
    env: { PATH: process.env.PATH, DATABASE_URL: database.url },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let stdout = ''
  child.stdout.on('data', (data) => {
    stdout += String(data)
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  const version = await codeVersion()
  expect({ code, answer: JSON.parse(stdout) as unknown }).toEqual({
    code: 0,
    answer: { version, applied: [], newer: [] },
  })
})
