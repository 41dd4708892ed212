/**
 * G12's storm: contacts write at a steady rate, so that `message.received` is recorded by the gateway whatever happens to the
 * web process, which delivers and is killed with -9; six endpoints want all of it, five of them in trouble. Then it is calm,
 * and all that was missed is to arrive. Days of retry schedule are made to pass by moving what is due; nothing else is touched
 * in the database.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { publicEventTypes } from '../../src/features/events/event.js'
import { idFromColumn, publicId } from '../../src/kernel/ids.js'
import { type Random, seededRandom } from '../../src/kernel/random.js'
import { eventually } from '../support/eventually.js'
import {
  launchMirante,
  launchSimulator,
  type MiranteOptions,
  type MiranteProcess,
  type SimulatorProcess,
} from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { type EndpointName, type Endpoints, startEndpoints } from './webhook-endpoints.js'

export interface WebhookStormOptions {
  readonly seed: number
  /** Messages that come in; each is an event. */
  readonly messages: number
  /** A second. */
  readonly rate: number
  /** Of the process that delivers. */
  readonly kills: number
  readonly databaseUrl: string
  readonly mirante?: Pick<MiranteOptions, 'command'>
  /** How long each thing that must happen is waited for. Default: ten minutes. */
  readonly patienceMs?: number
  readonly log: (line: string) => void
}

/** Epoch ms. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** What the database says of an endpoint when the trouble ends. */
export interface Breaker {
  readonly name: EndpointName
  readonly state: 'closed' | 'open' | 'half_open'
  /** Tries that had begun when it was opened last, and all. */
  readonly triesBefore: number
  readonly tries: number
}

export interface WebhookStorm {
  readonly endpoints: Endpoints
  /** Ids of the events that every endpoint wants, as `webhook-id` has them. */
  readonly wanted: ReadonlySet<string>
  readonly known: ReadonlySet<string>
  /** From each kill until the process that delivers was ready again. */
  readonly deaths: readonly Span[]
  /** When every endpoint's secret was rotated; from then on two sign. */
  readonly rotatedAt: number
  /** While contacts wrote. */
  readonly trouble: Span
  readonly breakers: readonly Breaker[]
  readonly gone: { readonly enabled: boolean; readonly disabledReason: string | null }
  /** What was waited for in vain. */
  readonly inVain: readonly string[]
  /** Deliveries that are not `delivered` in the end. */
  readonly undelivered: number
}

const CHATS = 20
const ACCOUNT = '5511999990012'
const PATIENCE_MS = 600_000
/** Beyond what a worker puts off for a moment: what is due later waits for the schedule. */
const SCHEDULED_MS = 61_000

interface Scene {
  readonly mirante: MiranteProcess
  readonly simulator: SimulatorProcess
  readonly db: pg.Client
  readonly endpoints: Endpoints
  readonly idOf: Map<EndpointName, string>
}

/** The caller stops the endpoints. */
export async function runWebhookStorm(options: WebhookStormOptions): Promise<WebhookStorm> {
  const { seed, messages, databaseUrl, patienceMs = PATIENCE_MS, log } = options
  const inVain: string[] = []
  const patiently = (condition: () => Promise<boolean>, what: string) =>
    eventually(condition, what, patienceMs).catch(() => void inVain.push(what))
  const random = seededRandom(seed)
  const simulator = await launchSimulator(['--seed', String(seed), '--latency-ms', '0'])
  const env = { DATABASE_URL: databaseUrl, LOG_LEVEL: 'error' }
  const mirante = await launchMirante({ simulator, env, ...options.mirante })
  const db = new pg.Client(databaseUrl)
  await db.connect()
  const endpoints = await startEndpoints(random)
  const scene: Scene = { mirante, simulator, db, endpoints, idOf: new Map() }
  try {
    const phones = Array.from({ length: CHATS }, (_, chat) => `5511955${String(200_000 + chat)}`)
    await simulator.admin('POST', '/admin/contacts', { phones })
    await pairByQr(mirante, simulator, 'g12', ACCOUNT)
    const since = new Date()
    const first = await lastSequence(db)
    for (const { name, url } of endpoints.all) scene.idOf.set(name, await register(scene, name, url))
    const last = await lastSequence(db)

    const from = Date.now()
    await write(scene, phones, options)
    const [deaths, rotatedAt] = await Promise.all([killAll(mirante, random, options), rotate(scene, options)])
    await patiently(async () => (await received(db)) >= messages, 'all messages have come in')
    const trouble = { from, to: Date.now() }
    log(`${messages} messages came in within ${((trouble.to - from) / 1_000).toFixed(0)} s`)
    await patiently(
      async () => (await missingAtOk(scene)) === 0,
      'the healthy endpoint has all while others are in trouble',
    )
    const breakers = await breakersOf(scene)
    const gone = (await mirante.api('GET', `/api/webhooks/${scene.idOf.get('gone')}`)).body

    await endpoints.calm()
    await restore(scene, since)
    const calmSince = performance.now()
    await patiently(() => isQuiet(db), 'nothing is left to do')
    log(`all that was missed was brought within ${((performance.now() - calmSince) / 1_000).toFixed(0)} s`)
    return {
      endpoints,
      wanted: await eventIds(db, last),
      known: await eventIds(db, first),
      deaths,
      rotatedAt,
      trouble,
      breakers,
      gone,
      inVain,
      undelivered: await count(db, `from delivery where status <> 'delivered'`),
    }
  } finally {
    await db.end()
    await mirante.stop()
    await simulator.stop()
  }
}

async function register({ mirante, endpoints }: Scene, name: EndpointName, url: string): Promise<string> {
  const { status, body } = await mirante.api('POST', '/api/webhooks', { body: { url } })
  if (status !== 201) throw new Error(`cannot register: ${JSON.stringify(body)}`)
  endpoints.of[name].trust(body.secret)
  return body.id
}

// The storm

/** Goes on in the background, in the simulator. */
async function write(
  { simulator }: Scene,
  phones: readonly string[],
  { messages, rate }: WebhookStormOptions,
): Promise<void> {
  const count = messages / phones.length
  if (!Number.isInteger(count)) throw new Error(`as many messages for each of ${phones.length} chats`)
  for (const phone of phones) {
    await simulator.admin('POST', `/admin/contacts/${phone}/send`, {
      to: ACCOUNT,
      text: 'an event',
      count,
      ratePerSecond: rate / phones.length,
    })
  }
}

const spanMs = ({ messages, rate }: WebhookStormOptions): number => (messages / rate) * 1_000

async function killAll(mirante: MiranteProcess, random: Random, options: WebhookStormOptions): Promise<Span[]> {
  const { kills, log } = options
  const deaths: Span[] = []
  const startedAt = Date.now()
  for (let kill = 1; kill <= kills; kill++) {
    const planned = (spanMs(options) * (kill + 0.2 * (random() - 0.5))) / (kills + 1)
    await sleep(Math.max(0, startedAt + planned - Date.now()))
    const from = Date.now()
    if (!mirante.kill('web')) throw new Error('there was nothing to kill')
    await mirante.ready()
    deaths.push({ from, to: Date.now() })
    log(`kill ${kill}/${kills}: ready again after ${Date.now() - from} ms`)
  }
  return deaths
}

/** Resolves to the time from which on both secrets sign, for all endpoints. */
async function rotate({ mirante, endpoints, idOf }: Scene, options: WebhookStormOptions): Promise<number> {
  // Between two kills.
  await sleep((spanMs(options) * Math.ceil(options.kills / 2)) / (options.kills + 1) + spanMs(options) / 20)
  for (const { name, trust } of endpoints.all) {
    await eventually(async () => {
      const path = `/api/webhooks/${idOf.get(name)}/rotate-secret`
      const { status, body } = await mirante.api('POST', path, { body: { overlapHours: 1 } })
      if (status !== 200) return false
      trust(body.secret)
      return true
    }, `the secret of ${name} is rotated`)
  }
  return Date.now()
}

// Afterwards

/** The one that was gone wants to have what it missed. */
async function restore({ mirante, idOf }: Scene, since: Date): Promise<void> {
  const path = `/api/webhooks/${idOf.get('gone')}`
  await mirante.api('PATCH', path, { body: { enabled: true } })
  const answer = await mirante.api('POST', `${path}/replay`, { body: { since: since.toISOString() } })
  if (answer.status !== 202) throw new Error(`the replay was answered ${JSON.stringify(answer.body)}`)
}

/** Time passes by as much as the schedule asks for. */
async function isQuiet(db: pg.Client): Promise<boolean> {
  await passTime(db)
  await sleep(1_000)
  return (await leftToDo(db)) === 0
}

/** What waits for its schedule is due now, and so are probes. */
async function passTime(db: pg.Client): Promise<void> {
  await db.query(`update endpoint_circuit set probe_at = now() where probe_at is not null`)
  await db.query(`
    with due as (
      update job set due_at = now()
      where state = 'ready' and due_at > now() + case kind when 'release-deliveries' then 0 else ${SCHEDULED_MS} end
        * interval '1 ms'
      returning kind)
    select pg_notify('mirante_job', kind) from (select distinct kind from due) k`)
}

// What the database says

async function count(db: pg.Client, query: string, values: readonly unknown[] = []): Promise<number> {
  const { rows } = await db.query<{ n: string }>(`select count(*) as n ${query}`, [...values])
  return Number(rows[0]?.n)
}

const received = (db: pg.Client): Promise<number> => count(db, `from event where type = 'message.received'`)

const leftToDo = (db: pg.Client): Promise<number> =>
  count(
    db,
    `from (select id from job where state in ('ready', 'running') and kind <> 'fetch-media'
      union all select id from delivery where parked_after is not null) left_over`,
  )

async function missingAtOk({ db, endpoints }: Scene): Promise<number> {
  const { rows } = await db.query<{ id: string }>(`select id from event where type = 'message.received'`)
  return rows.filter(({ id }) => !endpoints.of.ok.taken.has(webhookId(id))).length
}

async function lastSequence(db: pg.Client): Promise<string> {
  const { rows } = await db.query<{ seq: string }>('select coalesce(max(seq), 0)::text as seq from event')
  return rows[0]?.seq ?? '0'
}

async function eventIds(db: pg.Client, after: string): Promise<Set<string>> {
  const types = publicEventTypes.filter((type) => type !== 'webhook.tested')
  const { rows } = await db.query<{ id: string }>('select id from event where type = any ($1) and seq > $2', [
    types,
    after,
  ])
  return new Set(rows.map(({ id }) => webhookId(id)))
}

const webhookId = (id: string): string => publicId('evt', idFromColumn('evt', id))

async function breakersOf({ db, endpoints }: Scene): Promise<Breaker[]> {
  const { rows } = await db.query(`
    select w.url, coalesce(c.state, 'closed') as state, count(a)::int as tries,
      count(a) filter (where a.started_at <= c.opened_at)::int as "triesBefore"
    from webhook_endpoint w left join endpoint_circuit c on c.endpoint_id = w.id
    left join delivery d on d.endpoint_id = w.id left join attempt a on a.delivery_id = d.id
    group by w.url, c.state, c.opened_at`)
  return endpoints.all.map(({ name, url }) => ({ ...rows.find((row) => row.url === url), name }))
}
