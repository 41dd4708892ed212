/** From the embedded database to a server, as a user does it: the number stays paired, and no two Mirantes ever run. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { commandRunner } from '../support/command.js'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import { launchMirante, launchSimulator, type MiranteProcess, type SimulatorProcess } from '../support/launch.js'
import { connected, pairByQr } from '../support/pair.js'

const PHONE = '5511999990042'
const CONTACT = '5511988800042'
let simulator: SimulatorProcess
let product: MiranteProcess | undefined
let directory: string
let target: Awaited<ReturnType<typeof createEmptyDatabase>>
const mirante = commandRunner(() => ({ SESSION_STORAGE_PATH: directory, LOG_LEVEL: 'warn' }))

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mirante-move-'))
  target = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '10'])
})
afterEach(mirante.stopAll)
afterAll(async () => {
  await product?.stop()
  await simulator?.stop()
  await target?.drop()
  rmSync(directory, { recursive: true, force: true })
})

test('a move from the embedded database keeps the number paired and its messages, and retires the source', async () => {
  product = await launchMirante({ simulator, directory })
  const instanceId = await pairByQr(product, simulator, 'moving', PHONE)
  await simulator.admin('POST', '/admin/contacts', { phones: [CONTACT], receipts: 'delivered' })
  await sendAndSee(product, instanceId, 'before the move')

  const early = await mirante('move', `--to=${target.url}`).ended
  expect([early.code, early.stderr]).toEqual([1, expect.stringMatching(/is in use by another Mirante/)])
  await product.stop()

  const { code, stdout, stderr } = await mirante('move', `--to=${target.url}`, '--json').ended
  expect(stderr).not.toMatch(/error/i)
  expect(code).toBe(0)
  const report = JSON.parse(stdout)
  expect(report.next.map(({ variable }: { variable: string }) => variable)).toEqual([
    'DATABASE_URL',
    'ENCRYPTION_KEY',
    'STORAGE_URL',
  ])
  expect(stdout).not.toContain(new URL(target.url).password || 'no password is set here')

  const source = await mirante('serve', '--port=0').ended
  expect([source.code, source.stderr]).toEqual([1, expect.stringMatching(/has moved to .*start there/)])

  const key = readFileSync(join(directory, 'encryption-key'), 'utf8').trim()
  product = await launchMirante({ simulator, env: { DATABASE_URL: target.url, ENCRYPTION_KEY: key } })
  await connected(product, instanceId)
  await sendAndSee(product, instanceId, 'after the move')
  const { body } = await product.api('GET', '/api/messages?direction=outbound')
  expect(body.data.map((message: { text: { body: string } }) => message.text.body)).toEqual([
    'after the move',
    'before the move',
  ])
  const events = await product.api('GET', '/api/events?types=instance.qr_updated&limit=200')
  const paired = await product.api('GET', '/api/events?types=instance.status_changed&limit=200')
  const lastQr = events.body.data.at(-1).sequence
  // Nothing was shown to scan after the first connection.
  const firstConnected = paired.body.data.find(
    ({ data }: { data: { connectionStatus: string } }) => data.connectionStatus === 'CONNECTED',
  )
  expect(lastQr).toBeLessThan(firstConnected.sequence)
}, 300_000)

async function sendAndSee(to: MiranteProcess, instanceId: string, body: string): Promise<void> {
  const { status, body: answer } = await to.api('POST', '/api/messages', {
    body: { instanceId, to: `+${CONTACT}`, type: 'text', text: { body } },
  })
  expect(status).toBe(202)
  await eventually(async () => {
    const message = await to.api('GET', `/api/messages/${answer.id}`)
    return message.body.status === 'delivered'
  }, `"${body}" is delivered`)
}
