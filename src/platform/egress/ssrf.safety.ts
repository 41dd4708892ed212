/**
 * G13: nothing that a stranger writes into a URL makes Mirante connect to an address that is not public or allowed. The
 * judge is the operating system: listeners on loopback count what they accept. A control without the guard must reach them.
 * Whole run: `npx tsx src/platform/egress/ssrf.safety.ts --full [--seed=n]`.
 */
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { systemClock } from '../../kernel/clock.js'
import { type Random, seededRandom } from '../../kernel/random.js'
import { EgressError } from './egress-error.js'
import { hostileAnswers, hostileLiterals, refusedUrls } from './hostile-urls.js'
import { createEgress, type Egress } from './http-client.js'
import type { Resolve } from './safe-dns.js'

export interface SsrfReport {
  readonly seed: number
  readonly spellings: number
  readonly rebindings: number
  /** Look-ups that the resolver answered during the rebinding rounds. */
  readonly lookups: number
  /** Connections to the address that is allowed: the guard does not simply refuse everything. */
  readonly allowedAccepts: number
  /** Connections to addresses that are not. Must be 0. */
  readonly forbiddenAccepts: number
  /** The same without the guard. Must not be 0. */
  readonly controlAccepts: number
  /** What was not refused as it should have been. */
  readonly leaks: readonly string[]
  readonly holds: boolean
}

/** Stands for the public address: loopback, and in the allow list. */
const ALLOWED = '127.0.0.2'

export async function runSsrfSafety({ seed, rebindings }: { seed: number; rebindings: number }): Promise<SsrfReport> {
  const network = await listen()
  const leaks: string[] = []
  try {
    await tryLiterals(network, leaks)
    await tryAnswers(network, leaks)
    await tryRedirects(network, leaks)
    const lookups = await tryRebinding(network, rebindings, seededRandom(seed))
    const forbiddenAccepts = network.forbiddenAccepts()
    const controlAccepts = (await control(network)) - forbiddenAccepts
    const allowedAccepts = network.allowedAccepts()
    const holds = leaks.length === 0 && forbiddenAccepts === 0 && controlAccepts > 0 && allowedAccepts > 0
    const spellings = hostileLiterals.length + hostileAnswers.length + refusedUrls.length
    return { seed, spellings, rebindings, lookups, allowedAccepts, forbiddenAccepts, controlAccepts, leaks, holds }
  } finally {
    await network.close()
  }
}

async function tryLiterals({ port }: Network, leaks: string[]): Promise<void> {
  const resolve: Resolve = async (name) => (/^localhost\.?$/.test(name) ? ['127.0.0.1', '::1'] : [])
  const egress = guarded(port, resolve)
  for (const spelling of [...hostileLiterals, ...refusedUrls]) {
    await expectRefusal(egress, spelling.replace('{port}', String(port)), leaks)
  }
  await egress.close()
}

async function tryAnswers({ port }: Network, leaks: string[]): Promise<void> {
  for (const answer of hostileAnswers) {
    const egress = guarded(port, async () => answer)
    await expectRefusal(egress, `https://answers.test:${port}/${answer.join()}`, leaks)
    await egress.close()
  }
}

/** The allowed server points back at the forbidden one: the redirect itself must be the answer. */
async function tryRedirects({ port }: Network, leaks: string[]): Promise<void> {
  const egress = guarded(port, async () => [ALLOWED])
  for (const status of [301, 302, 303, 307, 308]) {
    const answer = await send(egress, `http://redirect.test:${port}/${status}`)
    if (answer !== status) leaks.push(`redirect ${status} → ${answer}`)
  }
  await egress.close()
}

/** A name that resolves to something else each time it is asked, between the check and the connection above all. */
async function tryRebinding({ port }: Network, rounds: number, random: Random): Promise<number> {
  let lookups = 0
  const answers = [[ALLOWED], ['127.0.0.1'], ['::1'], [ALLOWED, '127.0.0.1'], ['::ffff:127.0.0.1'], [ALLOWED]]
  const egress = guarded(port, async () => {
    lookups += 1
    return answers[Math.floor(random() * answers.length)] ?? []
  })
  for (let round = 0; round < rounds; round++) {
    // A name of its own each time, so that no open connection answers in place of a look-up.
    const url = `http://r${round}.rebind.test:${port}/200`
    await egress.check(url).catch(() => undefined)
    await send(egress, url)
  }
  await egress.close()
  return lookups
}

async function control({ port, forbiddenAccepts }: Network): Promise<number> {
  const open = createEgress({ ...limits, allow: ['0.0.0.0/0', '::/0'], resolve: async () => ['127.0.0.1'] })
  for (const spelling of hostileLiterals.filter((url) => /127|::1|localhost/.test(url))) {
    await send(open, spelling.replace('{port}', String(port)))
  }
  await open.close()
  return forbiddenAccepts()
}

// Helpers

const limits = { clock: systemClock, connectTimeoutMs: 1_000 }

/** Port and scheme are no reason to refuse here, so the address alone must be. */
const guarded = (port: number, resolve: Resolve): Egress =>
  createEgress({ ...limits, allow: [`${ALLOWED}/32`], ports: [port, 443, 70], allowHttp: true, resolve })

async function expectRefusal(egress: Egress, url: string, leaks: string[]): Promise<void> {
  const outcome = await send(egress, url)
  if (!['refused_address', 'refused_url', 'dns'].includes(String(outcome))) leaks.push(`${url} → ${outcome}`)
  const checked = await egress.check(url).then(
    () => 'passed',
    () => 'refused',
  )
  if (checked === 'passed') leaks.push(`${url} → passed the check`)
}

async function send(egress: Egress, url: string): Promise<number | string> {
  try {
    const request = { headers: {}, body: '{}', signal: new AbortController().signal, timeoutMs: 5_000 }
    return (await egress.post(url, request)).status
  } catch (error) {
    return error instanceof EgressError ? error.code : `threw ${String(error)}`
  }
}

interface Network {
  readonly port: number
  allowedAccepts(): number
  forbiddenAccepts(): number
  close(): Promise<void>
}

/** One port on three addresses: forbidden on 127.0.0.1 and ::1, allowed on 127.0.0.2. */
async function listen(attempt = 0): Promise<Network> {
  const accepts = { allowed: 0, forbidden: 0 }
  const forbidden = () =>
    createServer((socket) => {
      accepts.forbidden += 1
      socket.destroy()
    })
  const [ipv4, ipv6, allowed] = [forbidden(), forbidden(), createHttpServer()]
  async function close(): Promise<void> {
    allowed.closeAllConnections()
    await Promise.all([ipv4, ipv6, allowed].map((server) => new Promise((resolve) => server.close(resolve))))
  }
  try {
    await bind(ipv4, 0, '127.0.0.1')
    const { port } = ipv4.address() as AddressInfo
    await bind(ipv6, port, '::1')
    await bind(allowed, port, ALLOWED)
    allowed.on('connection', () => {
      accepts.allowed += 1
    })
    allowed.on('request', (request, response) => {
      response.writeHead(Number(request.url?.slice(1)), { location: `http://127.0.0.1:${port}/` }).end()
    })
    return { port, allowedAccepts: () => accepts.allowed, forbiddenAccepts: () => accepts.forbidden, close }
  } catch (error) {
    await close()
    // Somebody else had that port on one of the addresses.
    if (attempt < 5) return listen(attempt + 1)
    throw error
  }
}

const bind = (server: Server, port: number, host: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, ipv6Only: true }, resolve)
  })

async function main(args: readonly string[]): Promise<void> {
  const seed = Number(args.find((arg) => arg.startsWith('--seed='))?.slice(7) ?? Date.now() % 1_000_000)
  const report = await runSsrfSafety({ seed, rebindings: args.includes('--full') ? 1_000 : 100 })
  process.stdout.write(`${JSON.stringify(report, null, 2)}\nG13 ${report.holds ? 'holds' : 'BROKEN'} (seed ${seed})\n`)
  process.exitCode = report.holds ? 0 : 1
}

if (import.meta.filename === process.argv[1]) await main(process.argv.slice(2))
