/**
 * G14, for our own webhooks: what Mirante signs verifies with what our users verify it with, and nothing forged does. The
 * signer is held against the published vector of Standard Webhooks; then 10,000 fuzzed requests go to the public library and,
 * over HTTP, to the receiver of docs/first-bot.md as it stands there. All valid ones pass, no forged one does, and none makes
 * either of them throw: a receiver that ends over a strange header is one that strangers can end. What `mirante listen` posts is
 * verified too. Controls, one that verifies nothing and one that compares whatever the length, must be
 * noticed.
 * `tsx test/chaos/g14-signatures.ts [--reduced] [--seed N]`; exit 1 on failure.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { Webhook, WebhookVerificationError } from 'standardwebhooks'
import { createForwarder } from '../../src/app/cli/forward.js'
import { signatureOf } from '../../src/features/webhooks/signature.js'
import { sha256 } from '../../src/kernel/crypto.js'
import { eventually } from '../support/eventually.js'
import { freePort } from '../support/launch.js'

const { values } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const seed = Number(values.seed)
const CASES = values.reduced ? 1_000 : 10_000
const FORWARDED = 100
const AT_ONCE = 16

/** Of the reference libraries (libraries/javascript, go, … of standard-webhooks): the same in all of them. */
const published = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  content: { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: 1_614_265_330, body: '{"test": 2432232314}' },
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
}

type Headers = Readonly<Record<string, string>>

interface Case {
  readonly headers: Headers
  readonly body: string
  /** `either`: the right signature is in it, but not as the standard writes it. */
  readonly is: 'valid' | 'forged' | 'either'
}

type Verdict = 'passed' | 'refused' | 'threw'
type Verifier = (tried: Case) => Promise<Verdict>

const secret = secretFrom('ours')
const failures: string[] = []
const directory = mkdtempSync(join(tmpdir(), 'mirante-g14-'))

console.log(`G14 signatures, seed ${seed}, ${CASES} requests`)
const ours = signatureOf(published.content, [published.secret])
console.log(`  the published vector: ${ours === published.signature ? 'signed alike' : ours}`)
if (ours !== published.signature) failures.push('the published vector is signed otherwise')

const cases = fc.sample(arbitraryCase(), { numRuns: CASES, seed })
const counts = (is: Case['is']) => cases.filter((one) => one.is === is).length
console.log(`  ${counts('valid')} valid, ${counts('forged')} forged, ${counts('either')} written otherwise`)
if (counts('valid') < CASES / 10 || counts('forged') < CASES / 10) failures.push('the requests are too much alike')

const receiver = blockOf('first-bot.md')
failures.push(...(await put('the public library', byLibrary, cases)))
failures.push(...(await withReceiver(receiver, (verify) => put('the receiver of docs/first-bot.md', verify, cases))))
failures.push(...(await withReceiver(receiver, (_verify, url) => forwardAll(url))))
await control('verifies nothing', async () => 'passed')
const hasty = receiver.replace('one.length === expected.length && ', '')
if (hasty === receiver) failures.push('there is nothing to break in the receiver')
await withReceiver(hasty, (verify) => control('does not look at lengths', verify))
rmSync(directory, { recursive: true, force: true })

for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'G14 holds' : 'G14 does not hold')
process.exit(failures.length === 0 ? 0 : 1)

// The requests

function secretFrom(word: string): string {
  return `whsec_${sha256(`${seed} ${word}`).toString('base64')}`
}

function arbitraryCase(): fc.Arbitrary<Case> {
  const now = Math.floor(Date.now() / 1_000)
  const text = fc.string({ unit: 'grapheme', maxLength: 40 })
  /** What HTTP lets a header be, and Node reads as Latin-1. */
  const anyHeader = fc.string({
    unit: fc
      .integer({ min: 0x20, max: 0xff })
      .filter((c) => c !== 0x7f)
      .map((c) => String.fromCharCode(c)),
    maxLength: 80,
  })
  const sameLength = fc.string({ unit: fc.constantFrom('é', 'ÿ', 'A', '='), minLength: 44, maxLength: 44 })
  const signed = fc.record({
    id: fc.stringMatching(/^evt_[0-9A-Z]{26}$/),
    data: text,
    ago: fc.integer({ min: 0, max: 120 }),
  })
  return fc
    .record({
      signed,
      other: fc.record({
        secret: fc.constantFrom(secretFrom('a stranger'), secretFrom('another')),
        junk: anyHeader,
        letters: fc.stringMatching(/^[a-z]{1,9}$/),
        sameLength,
      }),
      way: fc.constantFrom(...ways()),
      at: fc.nat(),
    })
    .map(({ signed: { id, data, ago }, other, way, at }) => {
      const body = JSON.stringify({ type: 'fuzz.tested', timestamp: new Date(0).toISOString(), data: { text: data } })
      const timestamp = now - ago
      const signature = signatureOf({ id, timestamp, body }, [secret])
      const foreign = signatureOf({ id, timestamp, body }, [other.secret])
      const valid = { body, id, timestamp: String(timestamp), signature }
      const made = way({ valid, foreign, at, ...other })
      const headers = Object.fromEntries(
        Object.entries({
          'webhook-id': made.id,
          'webhook-timestamp': made.timestamp,
          'webhook-signature': made.signature,
        }).filter((entry): entry is [string, string] => entry[1] !== undefined),
      )
      return { headers, body: made.body, is: judgeCase(made, signature, valid) }
    })
}

interface Parts {
  readonly body: string
  readonly id?: string | undefined
  readonly timestamp?: string | undefined
  readonly signature?: string | undefined
}

interface Material {
  readonly valid: Required<{ [Name in keyof Parts]: string }>
  readonly foreign: string
  readonly junk: string
  readonly sameLength: string
  readonly letters: string
  readonly at: number
}

function changedAt(text: string, at: number): string {
  const index = at % text.length
  return text.slice(0, index) + (text[index] === 'A' ? 'B' : 'A') + text.slice(index + 1)
}

function ways(): readonly ((from: Material) => Parts)[] {
  return [
    ({ valid }) => valid,
    ({ valid, foreign }) => ({ ...valid, signature: `${foreign} ${valid.signature}` }),
    ({ valid, sameLength }) => ({ ...valid, signature: `v1,${sameLength} v1a,${sameLength} ${valid.signature} v2,x` }),
    ({ valid, foreign }) => ({ ...valid, signature: foreign }),
    ({ valid, junk }) => ({ ...valid, signature: junk }),
    ({ valid, sameLength }) => ({ ...valid, signature: `v1,${sameLength}` }),
    ({ valid, at }) => ({ ...valid, signature: changedAt(valid.signature, at) }),
    ({ valid, at }) => ({ ...valid, signature: valid.signature.slice(0, at % valid.signature.length) }),
    ({ valid, letters }) => ({ ...valid, signature: `${letters},${valid.signature.slice(3)}` }),
    ({ valid, junk }) => ({ ...valid, signature: `${valid.signature},${junk}` }),
    ({ valid }) => ({ ...valid, signature: valid.signature.replaceAll('+', '-').replaceAll('/', '_') }),
    ({ valid, at }) => ({ ...valid, body: changedAt(valid.body, at) }),
    ({ valid }) => ({ ...valid, body: `${valid.body} ` }),
    ({ valid, at }) => ({ ...valid, id: changedAt(valid.id, at) }),
    ({ valid, junk }) => ({ ...valid, id: junk }),
    ({ valid, at }) => ({ ...valid, timestamp: String(Number(valid.timestamp) + 1 + (at % 100)) }),
    ({ valid, letters }) => ({ ...valid, timestamp: letters }),
    ({ valid }) => ({ ...valid, signature: undefined }),
    ({ valid }) => ({ ...valid, id: undefined }),
    ({ valid }) => ({ ...valid, timestamp: undefined }),
    ({ valid }) => ({ ...valid, signature: '' }),
    // The dots between id, timestamp and body are part of what is signed, and may not be moved.
    ({ valid }) => ({ ...valid, id: `${valid.id}.${valid.timestamp}`, timestamp: '', body: valid.body }),
  ]
}

function judgeCase(made: Parts, signature: string, signed: Material['valid']): Case['is'] {
  const isSame = made.body === signed.body && made.id === signed.id && made.timestamp === signed.timestamp
  if (!isSame || made.signature === undefined) return 'forged'
  if (made.signature.split(' ').includes(signature)) return 'valid'
  return made.signature.includes(signature.slice(3)) ? 'either' : 'forged'
}

// Who verifies

async function byLibrary({ headers, body }: Case): Promise<Verdict> {
  try {
    new Webhook(secret).verify(body, { ...headers })
    return 'passed'
  } catch (error) {
    return error instanceof WebhookVerificationError ? 'refused' : 'threw'
  }
}

function blockOf(document: string): string {
  const text = readFileSync(new URL(`../../docs/${document}`, import.meta.url), 'utf8')
  const block = /```js\n([\s\S]*?)```/.exec(text)?.[1]
  if (!block) throw new Error(`${document} has no program`)
  return block
}

/** Runs the program of the document, on another port. */
async function withReceiver<Result>(
  program: string,
  work: (verify: Verifier, url: string) => Promise<Result>,
): Promise<Result> {
  const port = await freePort()
  const file = join(directory, `bot-${port}.mjs`)
  writeFileSync(file, program.replace('4000', String(port)))
  const env = { PATH: process.env.PATH, WEBHOOK_SECRET: secret }
  const child = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  let output = ''
  child.stdout.on('data', (data) => {
    output += String(data)
  })
  try {
    await eventually(() => output.includes('listens'), 'the receiver listens')
    return await work((tried) => postTo(port, agent, tried), `http://127.0.0.1:${port}/`)
  } finally {
    agent.destroy()
    if (child.exitCode === null && child.kill()) await once(child, 'exit')
  }
}

/** No answer means that it threw: it ends, or leaves the request open. */
function postTo(port: number, agent: Agent, { headers, body }: Case): Promise<Verdict> {
  return new Promise((resolve) => {
    const options = { port, agent, method: 'POST', headers: { ...headers }, timeout: 30_000 }
    const sent = request({ host: '127.0.0.1', ...options }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode === 401 ? 'refused' : 'passed'))
    })
    sent.once('error', () => resolve('threw'))
    sent.once('timeout', () => sent.destroy(new Error('no answer')))
    // As bytes: Node would send the headers in the encoding of a text, and `é` would be two characters there.
    sent.end(Buffer.from(body))
  })
}

// The judgement

async function put(name: string, verify: Verifier, given: readonly Case[]): Promise<string[]> {
  const found = { passed: 0, wrongly: 0, refused: 0, threw: 0 }
  const queue = given[Symbol.iterator]()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const tried of queue) {
        const verdict = await verify(tried)
        if (verdict === 'threw') found.threw += 1
        else if (verdict === 'passed' && tried.is === 'forged') found.wrongly += 1
        else if (verdict === 'refused' && tried.is === 'valid') found.refused += 1
        else if (verdict === 'passed') found.passed += 1
      }
    }),
  )
  const { passed, wrongly, refused, threw } = found
  console.log(`  ${name}: ${passed} passed, ${wrongly} of them forged, ${refused} valid refused, ${threw} exceptions`)
  return wrongly + refused + threw === 0
    ? []
    : [`${name} passed ${wrongly} forged, refused ${refused} valid, threw ${threw}`]
}

/** What `mirante listen --forward-to` posts. */
async function forwardAll(url: string): Promise<string[]> {
  const signal = new AbortController().signal
  const forward = createForwarder({ url, secret, signal, onDown: () => {}, onBack: () => {} })
  const texts = fc.sample(fc.string({ unit: 'grapheme' }), { numRuns: FORWARDED, seed })
  let taken = 0
  for (const [sequence, text] of texts.entries()) {
    const event = {
      id: `evt_${sequence}`,
      sequence,
      type: 'fuzz.tested',
      timestamp: '2026-11-21T00:00:00Z',
      data: { text },
    }
    const answer = await forward({ ...event, instanceId: null } as Parameters<typeof forward>[0])
    if (answer?.status === 204) taken += 1
  }
  console.log(`  mirante listen: ${taken} of ${FORWARDED} taken by the receiver of docs/first-bot.md`)
  return taken === FORWARDED ? [] : [`${FORWARDED - taken} events of mirante listen were refused`]
}

async function control(name: string, verify: Verifier): Promise<void> {
  const problems = await put(`control ${name}`, verify, cases.slice(0, 500))
  if (problems.length === 0) failures.push(`the control ${name} went unnoticed`)
}
