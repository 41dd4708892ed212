/**
 * G14: our own webhooks. Receivers fail, hang, redirect, die and come back, one says that it is gone; workers are killed. Every
 * event reaches every endpoint that wants it, at least once, under its own id, with one body, signed so that the public
 * library `standardwebhooks` verifies it; the one that was gone gets what it missed by a replay. Then the controls: each
 * broken promise must be noticed.
 * `tsx test/chaos/g14-webhooks.ts [--reduced] [--seed N]`; exit 1 on failure.
 *
 * Days of retry schedule are made to pass by moving what is due; nothing else is touched in the database.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { publicEventTypes } from '../../src/features/events/event.js'
import { idFromColumn, publicId } from '../../src/kernel/ids.js'
import { seededRandom } from '../../src/kernel/random.js'
import { startCluster } from '../support/cluster.js'
import { eventually } from '../support/eventually.js'
import {
  freePort,
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
} from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { type ReceivedDelivery, startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const seed = Number(values.seed)
const random = seededRandom(seed)
const MESSAGES = values.reduced ? 40 : 1_000
const CHATS = 10
const KILLS = values.reduced ? 2 : 5
const ACCOUNT = '5511999990014'
/** How many of the first deliveries the hanging receiver leaves without an answer: 15 s each, four at a time. */
const HANGS = 4

/** What a receiver took: it answered 2xx. */
interface Taken {
  readonly ids: Set<string>
  readonly bodies: Map<string, Set<string>>
}

interface Scene {
  readonly mirante: MiranteProcess
  readonly simulator: SimulatorProcess
  readonly db: pg.Client
  readonly receiver: WebhookReceiver
  readonly taken: Map<string, Taken>
  /** While it holds, receivers behave badly. */
  trouble: boolean
}

const failures: string[] = []

console.log(`G14 webhooks, seed ${seed}, ${MESSAGES} messages`)
const startedAt = performance.now()
// Side by side: all of them mostly wait.
await Promise.all([product(), controlRun('fire-and-forget'), controlRun('new-id')])
console.log(`  ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`)
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G14 holds' : 'G14 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

function fail(what: string): void {
  failures.push(what)
}

async function product(): Promise<void> {
  const cluster = await startCluster()
  const simulator = await launchSimulator(['--seed', String(seed), '--latency-ms', '0'])
  const mirante = await launchMirante({ simulator, env: { DATABASE_URL: cluster.url, LOG_LEVEL: 'error' } })
  const db = new pg.Client(cluster.url)
  await db.connect()
  const receiver = await startWebhookReceiver()
  const scene: Scene = { mirante, simulator, db, receiver, taken: new Map(), trouble: true }
  const dying = createDyingReceiver(scene, await freePort())
  try {
    receiver.answerWith((delivery) => take(scene, delivery, statusOf(scene, delivery)))
    await dying.live()
    const since = new Date(Date.now() - 1_000).toISOString()
    const endpoints = new Map<string, string>()
    for (const name of ['ok', 'flaky', 'hanging', 'redirecting', 'gone']) {
      endpoints.set(name, await register(scene, receiver.at(`/${name}`)))
    }
    endpoints.set('dying', await register(scene, dying.url, dying.trust))
    await makeEvents(scene, dying)
    await rotate(scene, endpoints.get('ok') ?? '')
    await restore(scene, endpoints.get('gone') ?? '', since)
    await dying.live()
    scene.trouble = false
    await untilAllTaken(scene, [...endpoints.keys()])
    await judge(scene)
  } finally {
    await db.end()
    await mirante.stop()
    await simulator.stop()
    await receiver.stop()
    await dying.die()
    await cluster.stop()
  }
}

/** Messages out, with receipts, while the worker is killed and a receiver dies and comes back. */
async function makeEvents({ mirante, simulator }: Scene, dying: DyingReceiver): Promise<void> {
  const phones = Array.from({ length: CHATS }, (_, index) => `5511955${String(200_000 + index)}`)
  await simulator.admin('POST', '/admin/contacts', { phones, receipts: 'delivered' })
  const instanceId = await pairByQr(mirante, simulator, 'g14', ACCOUNT)
  for (let n = 0; n < MESSAGES; n++) {
    if (n === Math.floor(MESSAGES / 4)) await dying.die()
    if (n === Math.floor((MESSAGES * 3) / 4)) await dying.live()
    if (n > 0 && n % Math.floor(MESSAGES / (KILLS + 1)) === 0) mirante.kill('web')
    await sendOne(mirante, n, { instanceId, to: `+${phones[n % CHATS]}`, type: 'text', text: { body: `message ${n}` } })
  }
}

/** The web process is killed under it: under the same key it makes one message, however often it is asked. */
async function sendOne(mirante: MiranteProcess, n: number, body: object): Promise<void> {
  const headers = { 'idempotency-key': `g14-${n}` }
  for (;;) {
    const answer = await mirante.api('POST', '/api/messages', { body, headers }).catch(() => undefined)
    if (answer?.status === 202) return
    if (answer && answer.status < 500 && answer.status !== 409) throw new Error(JSON.stringify(answer.body))
    await sleep(50)
  }
}

// The receivers

function statusOf(scene: Scene, { path, count }: ReceivedDelivery): number | 'never' {
  if (!scene.trouble) return 200
  switch (path) {
    case '/flaky':
      return random() < 0.3 ? 500 : 200
    case '/redirecting':
      return count === 1 ? 307 : 200
    case '/hanging':
      return arrivalsAt(scene, path) <= HANGS ? 'never' : 200
    case '/gone':
      return 410
    default:
      return 200
  }
}

function arrivalsAt({ receiver }: Scene, path: string): number {
  return receiver.verified.filter((delivery) => delivery.path === path).length
}

function take(scene: Scene, { path, id, body }: ReceivedDelivery, status: number | 'never') {
  const taken = takenAt(scene, path)
  const bodies = taken.bodies.get(id) ?? new Set()
  taken.bodies.set(id, bodies.add(body))
  if (status === 'never') return { status: 200, afterMs: Number.POSITIVE_INFINITY }
  if (status === 200) taken.ids.add(id)
  return { status, headers: status === 307 ? { location: scene.receiver.at('/elsewhere') } : {} }
}

function takenAt({ taken }: Scene, path: string): Taken {
  const at = taken.get(path) ?? { ids: new Set(), bodies: new Map() }
  taken.set(path, at)
  return at
}

interface DyingReceiver {
  readonly url: string
  live(): Promise<void>
  die(): Promise<void>
  trust(secret: string): void
}

/** Comes back on the same port; what it took before it died, it keeps. */
function createDyingReceiver(scene: Scene, port: number): DyingReceiver {
  let alive: WebhookReceiver | undefined
  const secrets: string[] = []
  return {
    url: `http://127.0.0.1:${port}/dying`,
    trust(secret) {
      secrets.push(secret)
      alive?.trust(secret)
    },
    async live() {
      if (alive) return
      alive = await startWebhookReceiver({ port })
      for (const secret of secrets) alive.trust(secret)
      alive.answerWith((delivery) => take(scene, delivery, 200))
    },
    async die() {
      if (alive && alive.refused.length > 0) fail(`${alive.refused.length} deliveries to the dying one were forged`)
      await alive?.stop()
      alive = undefined
    },
  }
}

async function register(
  { mirante, receiver }: Pick<Scene, 'mirante' | 'receiver'>,
  url: string,
  trust: (secret: string) => void = receiver.trust,
): Promise<string> {
  const { status, body } = await mirante.api('POST', '/api/webhooks', { body: { url } })
  if (status !== 201) throw new Error(`cannot register: ${JSON.stringify(body)}`)
  trust(body.secret)
  return body.id
}

/** From here on both secrets must verify. */
async function rotate({ mirante, receiver }: Scene, endpointId: string): Promise<void> {
  await eventually(() => mirante.api('GET', '/readyz').then(({ status }) => status === 200), 'it is ready')
  const { body } = await mirante.api('POST', `/api/webhooks/${endpointId}/rotate-secret`, { body: { overlapHours: 1 } })
  receiver.trust(body.secret)
  await mirante.api('POST', `/api/webhooks/${endpointId}/test`)
  await eventually(() => receiver.verified.some(({ verifiedBy }) => verifiedBy.length === 2), 'both secrets sign')
}

/** The one that was gone was disabled at its first answer. Now it wants to have what it missed. */
async function restore(scene: Scene, endpointId: string, since: string): Promise<void> {
  const { mirante } = scene
  const path = `/api/webhooks/${endpointId}`
  const { body } = await mirante.api('GET', path)
  if (body.enabled || body.disabledReason !== 'gone') fail(`410 did not disable its endpoint: ${JSON.stringify(body)}`)
  // What had been sent before the first answer was written down may come too: no more than one endpoint has in flight.
  const arrivals = arrivalsAt(scene, '/gone')
  if (arrivals > 4 * 2) fail(`${arrivals} deliveries to an endpoint that was gone`)
  scene.trouble = false
  await mirante.api('PATCH', path, { body: { enabled: true } })
  const answer = await mirante.api('POST', `${path}/replay`, { body: { since } })
  if (answer.status !== 202) fail(`the replay was answered ${answer.status} ${JSON.stringify(answer.body)}`)
  scene.trouble = true
}

// The judgement

async function expectedIds(db: pg.Client): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from event where type = any ($1) and type <> 'webhook.tested' order by seq`,
    [publicEventTypes],
  )
  return rows.map(({ id }) => publicId('evt', idFromColumn('evt', id)))
}

async function untilAllTaken(scene: Scene, names: readonly string[]): Promise<void> {
  const missing = async () => {
    const expected = await expectedIds(scene.db)
    return names.flatMap((name) => {
      const { ids } = takenAt(scene, `/${name}`)
      const count = expected.filter((id) => !ids.has(id)).length
      return count > 0 ? [`${name} misses ${count} of ${expected.length}`] : []
    })
  }
  await eventually(
    async () => {
      await passTime(scene.db)
      return (await missing()).length === 0 && (await sentAll(scene.db))
    },
    'every event has been taken everywhere',
    120_000,
  ).catch(async () => fail((await missing()).join('; ')))
}

async function sentAll(db: pg.Client): Promise<boolean> {
  const { rows } = await db.query(`select 1 from event where type = 'message.delivered'`)
  return rows.length >= MESSAGES
}

/** Retries and probes are due now. */
async function passTime(db: pg.Client): Promise<void> {
  await db.query(`update endpoint_circuit set probe_at = now() where probe_at is not null`)
  await db.query(`
    with due as (update job set due_at = now() where state = 'ready' and due_at > now() returning kind)
    select pg_notify('mirante_job', kind) from (select distinct kind from due) k`)
}

async function judge(scene: Scene): Promise<void> {
  const { receiver, taken, db } = scene
  const expected = new Set(await expectedIds(db))
  if (receiver.refused.length > 0) fail(`${receiver.refused.length} deliveries were not signed as they should be`)
  for (const [path, { ids, bodies }] of taken) {
    const unknown = [...ids].filter((id) => !expected.has(id))
    // The one of the test event.
    if (unknown.length > (path === '/ok' ? 1 : 0)) fail(`${path} took ${unknown.length} ids that no event has`)
    const changed = [...bodies.values()].filter(({ size }) => size > 1).length
    if (changed > 0) fail(`${changed} bodies at ${path} changed from one try to another`)
  }
  if (taken.has('/elsewhere')) fail('a redirect was followed')
  if (arrivalsAt(scene, '/hanging') <= HANGS) fail('nothing hung')
  const tries = receiver.verified.length
  console.log(`  ${expected.size} events to ${taken.size} endpoints, ${tries} tries at those that lived`)
  if (tries <= expected.size * (taken.size - 1)) fail('no try was repeated: the receivers were not bad at all')
}

// The controls

async function controlRun(control: 'fire-and-forget' | 'new-id'): Promise<void> {
  const cluster = await startCluster()
  const command = ['--import', 'tsx', fileURLToPath(new URL('webhook-control.ts', import.meta.url)), control]
  const mirante = await launchMirante({ command, env: { DATABASE_URL: cluster.url, LOG_LEVEL: 'error' } })
  const db = new pg.Client(cluster.url)
  await db.connect()
  const receiver = await startWebhookReceiver()
  try {
    const took = new Set<string>()
    receiver.answerWith(({ id, count }) => {
      if (count === 1) return 500
      took.add(id)
      return 200
    })
    const endpointId = await register({ mirante, receiver }, receiver.url)
    for (let n = 0; n < 5; n++) await mirante.api('POST', `/api/webhooks/${endpointId}/test`)
    await eventually(async () => {
      await passTime(db)
      const { rows } = await db.query(
        `select 1 from job where state in ('ready', 'running') and kind = 'deliver-webhook'`,
      )
      return rows.length === 0
    }, 'the control has done what it does')
    const isCaught = control === 'new-id' ? receiver.refused.length > 0 : took.size < 5
    console.log(`  control ${control}: ${took.size} of 5 taken, ${receiver.refused.length} refused`)
    if (!isCaught) fail(`the control ${control} was not noticed`)
  } finally {
    await db.end()
    await mirante.stop()
    await receiver.stop()
    await cluster.stop()
  }
}
