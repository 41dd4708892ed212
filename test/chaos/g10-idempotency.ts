/**
 * G10: 50 clients repeat 1,000 requests under their Idempotency-Keys, to two web processes that are killed in the middle.
 * Each key makes exactly one message, that is shown once; all clients get the same answer, or 409 while the first is in
 * progress and then the same answer; another body under a key is refused with 422.
 * `tsx test/chaos/g10-idempotency.ts [--reduced] [--seed N]`; exit 1 on failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { type Random, seededRandom } from '../../src/kernel/random.js'
import { startCluster } from '../support/cluster.js'
import { eventually } from '../support/eventually.js'
import { type ApiAnswer, launchMirante, launchSimulator, type MiranteProcess } from '../support/launch.js'
import { pairByQr } from '../support/pair.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const seed = Number(values.seed)
const random = seededRandom(seed)
const CLIENTS = 50
const KEYS = values.reduced ? 100 : 1_000
const CHATS = 20
const ACCOUNT = '5511999990010'
/** After these shares of the keys a web process is killed, the two in turn. */
const KILLS = [0.2, 0.4, 0.6, 0.8]
/** Keys under which two bodies race for being the first. */
const RACES = values.reduced ? 10 : 50
const RACERS = 10
/** A process that never comes back fails the program, and does not hang it. */
const GIVES_UP_AFTER_MS = 300_000

interface Findings {
  readonly answers: Map<string, string>
  differing: number
  inProgress: number
  unreachable: number
  unexpected: string[]
}

interface Scene {
  readonly webs: readonly [MiranteProcess, MiranteProcess]
  readonly instanceId: string
  readonly phones: readonly string[]
}

console.log(`G10 idempotency, seed ${seed}, ${CLIENTS} clients × ${KEYS} keys`)
const failures = await run()
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G10 holds' : 'G10 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

async function run(): Promise<string[]> {
  const cluster = await startCluster()
  const simulator = await launchSimulator(['--seed', String(seed), '--latency-ms', '0'])
  const env = { DATABASE_URL: cluster.url, ENCRYPTION_KEY: '07'.repeat(32), LOG_LEVEL: 'error' }
  const whole = await launchMirante({ simulator, env: { ...env, REPLICA_NAME: 'one' } })
  const second = await launchMirante({ simulator, env: { ...env, REPLICA_NAME: 'two' }, flags: ['--roles=web'] })
  const db = new pg.Client(cluster.url)
  await db.connect()
  try {
    const phones = Array.from({ length: CHATS }, (_, index) => `5511955${String(100_000 + index)}`)
    await simulator.admin('POST', '/admin/contacts', { phones, receipts: 'delivered' })
    const scene: Scene = { webs: [whole, second], instanceId: await pairByQr(whole, simulator, 'g10', ACCOUNT), phones }
    const findings = await repeatAll(scene)
    const otherBodies = await tryOtherBodies(scene)
    const races = await raceBodies(scene)
    return [
      ...judge(findings),
      ...otherBodies,
      ...races,
      ...(await judgeMessages(db, KEYS + RACES, () => simulator.admin('GET', `/admin/verdict?account=${ACCOUNT}`))),
    ]
  } finally {
    await db.end()
    await second.stop()
    await whole.stop()
    await simulator.stop()
    await cluster.stop()
  }
}

// Equal requests

async function repeatAll(scene: Scene): Promise<Findings> {
  const findings: Findings = { answers: new Map(), differing: 0, inProgress: 0, unreachable: 0, unexpected: [] }
  const kills = KILLS.map((share, index) => ({ at: Math.floor(share * KEYS), web: index % 2 }))
  const startedAt = performance.now()
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      for (let key = 0; key < KEYS; key++) {
        // The first to come so far brings a web process down, under everybody's requests.
        if (kills[0]?.at === key) killWeb(scene, kills.shift()?.web ?? 0)
        note(findings, `key-${key}`, await repeatUntilAccepted(scene, findings, key, seededRandom(seed + client)))
      }
    }),
  )
  const seconds = (performance.now() - startedAt) / 1_000
  console.log(
    `  ${CLIENTS * KEYS} requests in ${seconds.toFixed(1)} s; 409 ${findings.inProgress} times, no answer ${findings.unreachable} times`,
  )
  return findings
}

function killWeb({ webs }: Scene, index: number): void {
  const killed = webs[index === 0 ? 0 : 1].kill('web')
  console.log(`  kill -9 of web process ${index + 1}${killed ? '' : ' (was not running)'}`)
}

function note(findings: Findings, key: string, answer: ApiAnswer): void {
  const text = JSON.stringify(answer.body)
  const first = findings.answers.get(key)
  if (first === undefined) findings.answers.set(key, text)
  else if (first !== text) findings.differing += 1
}

async function repeatUntilAccepted(
  scene: Scene,
  findings: Findings,
  key: number,
  ownRandom: Random,
): Promise<ApiAnswer> {
  const giveUp = bound('a 202')
  for (;;) {
    const answer = await post(scene, `key-${key}`, bodyOf(scene, key), ownRandom)
    if (answer?.status === 202) return answer
    giveUp(answer)
    if (!answer || answer.status === 503) findings.unreachable += 1
    else if (isInProgress(answer)) findings.inProgress += 1
    else findings.unexpected.push(`${answer.status} ${JSON.stringify(answer.body)}`)
    await sleep(10 + ownRandom() * 50)
  }
}

function post(scene: Scene, key: string, body: object, ownRandom: Random): Promise<ApiAnswer | undefined> {
  const web = scene.webs[ownRandom() < 0.5 ? 0 : 1]
  return web
    .api('POST', '/api/messages', { body, headers: { 'idempotency-key': key }, timeoutMs: 10_000 })
    .catch(() => undefined)
}

function isInProgress({ status, body, headers }: ApiAnswer): boolean {
  return status === 409 && body.code === 'idempotency_in_progress' && headers.get('retry-after') !== null
}

function bodyOf({ instanceId, phones }: Scene, key: number, text = `request ${key}`): object {
  return { instanceId, to: `+${phones[key % phones.length]}`, type: 'text', text: { body: text } }
}

// Other bodies

/** Every key is taken now: another body under it is refused, by both processes. */
async function tryOtherBodies(scene: Scene): Promise<string[]> {
  const wrong: string[] = []
  const keys = Array.from({ length: 50 }, () => Math.floor(random() * KEYS))
  for (const key of keys) {
    const answer = await until(() => post(scene, `key-${key}`, bodyOf(scene, key, 'something else'), random))
    if (answer.status !== 422 || answer.body.code !== 'idempotency_key_reused') {
      wrong.push(`another body under key ${key} was answered ${answer.status} ${JSON.stringify(answer.body)}`)
    }
  }
  return wrong
}

/**
 * Two bodies at once under a new key: one of them becomes the message. While that is open, anybody may be told that the key
 * is in use (409, 422), but only one body is ever accepted, and afterwards it is clear which.
 */
async function raceBodies(scene: Scene): Promise<string[]> {
  const wrong: string[] = []
  for (let race = 0; race < RACES; race++) {
    const ask = (side: number, counts?: (answer: ApiAnswer) => boolean) =>
      until(() => post(scene, `race-${race}`, bodyOf(scene, race, `race ${race}, side ${side}`), random), counts)
    const during = await Promise.all(Array.from({ length: RACERS }, async (_, n) => ({ n, answer: await ask(n % 2) })))
    // A request whose client has given it up may still be under way.
    const isOver = (answer: ApiAnswer): boolean => !isInProgress(answer)
    const after = [await ask(0, isOver), await ask(1, isOver)]
    const winner = after.findIndex(({ status }) => status === 202)
    const accepted = during.filter(({ answer }) => answer.status === 202)
    const isRight =
      after[1 - winner]?.status === 422 &&
      accepted.length > 0 &&
      accepted.every(({ n, answer }) => n % 2 === winner && isEqual(answer.body, after[winner]?.body)) &&
      during.every(({ answer }) => [202, 409, 422].includes(answer.status))
    if (!isRight) {
      const seen = during.map(({ n, answer }) => `${n % 2}: ${answer.status}`).join(', ')
      wrong.push(`race ${race}: ${seen}; afterwards ${after.map(({ status }) => status).join(' and ')}`)
    }
  }
  return wrong
}

function isEqual(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/** The first answer there is that `counts`. */
async function until(
  ask: () => Promise<ApiAnswer | undefined>,
  counts: (answer: ApiAnswer) => boolean = () => true,
): Promise<ApiAnswer> {
  const giveUp = bound('an answer')
  for (;;) {
    const answer = await ask()
    if (answer && answer.status !== 503 && counts(answer)) return answer
    giveUp(answer)
    await sleep(50)
  }
}

function bound(what: string): (last: ApiAnswer | undefined) => void {
  const until = performance.now() + GIVES_UP_AFTER_MS
  return (last) => {
    if (performance.now() < until) return
    throw new Error(`waited ${GIVES_UP_AFTER_MS} ms in vain for ${what}; the last was ${last?.status ?? 'none'}`)
  }
}

// The judgement

function judge({ answers, differing, inProgress, unexpected }: Findings): string[] {
  const problems: string[] = []
  const distinct = new Set(answers.values()).size
  if (answers.size !== KEYS || distinct !== KEYS) problems.push(`${answers.size} keys have ${distinct} answers`)
  if (differing > 0) problems.push(`${differing} answers differ from the first one under their key`)
  if (inProgress === 0) problems.push('nobody was told that the first request is in progress')
  if (unexpected.length > 0) problems.push(`${unexpected.length} unexpected answers, such as ${unexpected[0]}`)
  return problems
}

interface Verdict {
  readonly distinct: number
  readonly doubledByText: number
}

async function judgeMessages(db: pg.Client, expected: number, verdict: () => Promise<Verdict>): Promise<string[]> {
  const problems: string[] = []
  await eventually(async () => (await verdict()).distinct >= expected, 'every message is shown').catch(
    (error: unknown) => problems.push(String(error)),
  )
  const { rows } = await db.query<{ messages: number; bodies: number; queued: number }>(`
    select count(*)::int as messages, count(distinct content -> 'text' ->> 'body')::int as bodies,
      (select count(*) from event where type = 'message.queued')::int as queued
    from message where direction = 'outbound'`)
  const { distinct, doubledByText } = await verdict()
  const counts = { ...rows[0], shown: distinct }
  const isExact = Object.values(counts).every((count) => count === expected)
  console.log(`  ${JSON.stringify(counts)} of ${expected}`)
  if (!isExact) problems.push(`not exactly one message per key: ${JSON.stringify(counts)} of ${expected}`)
  if (doubledByText > 0) problems.push(`${doubledByText} messages were shown twice`)
  return problems
}
