/**
 * The only way in which Mirante calls a URL that somebody else chose. Promises: no byte goes to an address that safe-dns
 * refuses; a call ends within its time. Of the answer to a `post` at most 64 kB are read, and no redirect is followed;
 * `download` follows a few, each judged like the first URL.
 */
import type { LookupFunction } from 'node:net'
import type { Agent, buildConnector } from 'undici'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { EgressError } from './egress-error.js'
import { createSafeDns, defaultPorts, type Resolve, type Target } from './safe-dns.js'

export interface EgressOptions {
  /** CIDR ranges that may be called besides public addresses; any port, and http too. */
  readonly allow: readonly string[]
  readonly clock: Pick<Clock, 'mono'>
  /** Whether public addresses may be called without TLS. @default false */
  readonly allowHttp?: boolean
  /** Ports of public addresses that may be called. @default 443, 80, 8443, 8080 */
  readonly ports?: readonly number[]
  /** For name, TCP and TLS together, in ms. @default 3000 */
  readonly connectTimeoutMs?: number
  /** @default the system's resolver */
  readonly resolve?: Resolve
}

export interface EgressRequest {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
  readonly signal: AbortSignal
  /** For everything, in ms. @default 15000 */
  readonly timeoutMs?: number
}

export interface EgressAnswer {
  readonly status: number
  /** Names in lower case; of repeated headers all values, joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  /** At most the first 64 kB. */
  readonly body: string
  readonly truncated: boolean
  readonly durationMs: number
}

export interface DownloadRequest {
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  /** Until the answer begins, and between two pieces of it, in ms. @default 15000 */
  readonly idleMs?: number
}

export interface Download {
  /** Of the last answer; any that is no redirect. */
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Throws EgressError when it breaks off. Read it, or `discard` it. */
  readonly content: AsyncIterable<Uint8Array>
  discard(): void
}

export interface Egress {
  /** Gets what is there, streamed. Rejects with EgressError. */
  download(url: string, request: DownloadRequest): Promise<Download>
  /** Any status is an answer; a redirect is one too. Rejects with EgressError. */
  post(url: string, request: EgressRequest): Promise<EgressAnswer>
  /** Whether this URL may be called now. Rejects with AppError `endpoint_url_refused`. */
  check(url: string): Promise<void>
  close(): Promise<void>
}

const TOTAL_TIMEOUT_MS = 15_000
const CONNECT_TIMEOUT_MS = 3_000
const MAX_BODY_BYTES = 64 * 1024
const MAX_HEADER_BYTES = 16 * 1024
/**
 * As many as there are deliveries in flight in all (delivery-gate.ts): with fewer, three slow endpoints of one server held
 * the connections of every other endpoint there, whoever's it was.
 */
const CONNECTIONS_PER_ORIGIN = 64
const MAX_REDIRECTS = 5
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

type Undici = typeof import('undici')
type Connect = buildConnector.connector

export function createEgress(options: EgressOptions): Egress {
  const { allow, clock, allowHttp = false, ports = defaultPorts, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options
  const dns = createSafeDns({ allow, ports, allowHttp }, options.resolve)
  let loading: Promise<{ undici: Undici; agent: Agent }> | undefined
  return { post, download, check, close }

  async function post(url: string, { headers, body, signal, timeoutMs = TOTAL_TIMEOUT_MS }: EgressRequest) {
    const startedAt = clock.mono()
    const target = parseTarget(url)
    const timeout = AbortSignal.timeout(timeoutMs)
    try {
      const { undici, agent } = await load()
      const answer = await undici.request(target, {
        dispatcher: agent,
        method: 'POST',
        headers,
        body,
        signal: AbortSignal.any([signal, timeout]),
      })
      const { text, truncated } = await readStart(answer.body)
      const durationMs = Math.round(clock.mono() - startedAt)
      return { status: answer.statusCode, headers: flatten(answer.headers), body: text, truncated, durationMs }
    } catch (error) {
      if (signal.aborted) throw new EgressError('aborted', { cause: error })
      if (timeout.aborted) throw new EgressError('timeout', { cause: error })
      throw toEgressError(error)
    }
  }

  async function download(url: string, request: DownloadRequest): Promise<Download> {
    let target = parseTarget(url)
    for (let redirects = 0; ; redirects++) {
      const answer = await get(target, request)
      const location = answer.headers.location
      if (!REDIRECTS.has(answer.status) || location === undefined) return answer
      answer.discard()
      if (redirects >= MAX_REDIRECTS || !URL.canParse(location, target.href)) throw new EgressError('refused_url')
      target = parseTarget(new URL(location, target).href)
    }
  }

  async function get(target: URL, { headers, signal, idleMs = TOTAL_TIMEOUT_MS }: DownloadRequest): Promise<Download> {
    const told = (error: unknown): EgressError =>
      signal.aborted ? new EgressError('aborted', { cause: error }) : toEgressError(error)
    try {
      const { undici, agent } = await load()
      const {
        statusCode,
        headers: found,
        body,
      } = await undici.request(target, {
        ...{ dispatcher: agent, method: 'GET', headers, signal },
        ...{ headersTimeout: idleMs, bodyTimeout: idleMs },
      })
      async function* content(): AsyncGenerator<Uint8Array> {
        try {
          yield* body as AsyncIterable<Uint8Array>
        } catch (error) {
          throw told(error)
        }
      }
      // Leaving it unread would hold its connection; its end is nobody's news.
      const discard = () => void body.on('error', () => undefined).destroy()
      return { status: statusCode, headers: flatten(found), content: content(), discard }
    } catch (error) {
      throw told(error)
    }
  }

  async function check(url: string): Promise<void> {
    try {
      const target = parseTarget(url)
      await inTime(dns.addressesOf(targetOf(target)), connectTimeoutMs)
    } catch (error) {
      if (!(error instanceof EgressError)) throw error
      throw new AppError('endpoint_url_refused', { detail: error.message, cause: error })
    }
  }

  async function close(): Promise<void> {
    const loaded = await loading?.catch(() => undefined)
    await loaded?.agent.destroy()
  }

  /** Loaded at the first call: a start of Mirante does not wait for it. */
  function load(): Promise<{ undici: Undici; agent: Agent }> {
    loading ??= import('undici').then((undici) => ({
      undici,
      agent: new undici.Agent({
        connect: guardedConnect(undici),
        connections: CONNECTIONS_PER_ORIGIN,
        pipelining: 1,
        maxHeaderSize: MAX_HEADER_BYTES,
      }),
    }))
    return loading
  }

  /** Judges at every connection, so at every attempt; what was judged is what is connected to. */
  function guardedConnect(undici: Undici): Connect {
    return (connection, callback) => {
      const startedAt = clock.mono()
      inTime(dns.addressesOf(targetOf(connection)), connectTimeoutMs).then(
        (addresses) => {
          const left = Math.max(1, connectTimeoutMs - (clock.mono() - startedAt))
          undici.buildConnector({ timeout: left, lookup: answerWith(addresses) })(connection, callback)
        },
        (error: Error) => callback(error, null),
      )
    }
  }
}

/** Parsed as WHATWG has it, which is also how it will be connected to: there is no second parser to disagree. */
function parseTarget(url: string): URL {
  if (!URL.canParse(url)) throw new EgressError('refused_url')
  const target = new URL(url)
  const isHttp = target.protocol === 'https:' || target.protocol === 'http:'
  if (!isHttp || target.username || target.password || !target.hostname) throw new EgressError('refused_url')
  return target
}

function targetOf({ hostname, port, protocol }: Pick<URL, 'hostname' | 'port' | 'protocol'>): Target {
  const secure = protocol === 'https:'
  return { hostname: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (secure ? 443 : 80), secure }
}

/** A `lookup` that knows one answer. Node tries the addresses in turn. */
function answerWith(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  return (_hostname, { all }, callback) => {
    if (all) return callback(null, found)
    const [first] = found
    callback(first ? null : new EgressError('dns'), first?.address ?? '', first?.family)
  }
}

/** A resolver cannot be told to stop, but it can be left alone. */
function inTime<Value>(work: Promise<Value>, ms: number): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new EgressError('timeout')), ms)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

async function readStart(body: AsyncIterable<Uint8Array>): Promise<{ text: string; truncated: boolean }> {
  const chunks: Uint8Array[] = []
  let length = 0
  // Leaving the loop early destroys the stream, and with it the connection: the rest is never read.
  for await (const chunk of body) {
    chunks.push(chunk)
    length += chunk.length
    if (length > MAX_BODY_BYTES) break
  }
  const text = Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES).toString('utf8')
  return { text, truncated: length > MAX_BODY_BYTES }
}

function flatten(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), Array.isArray(value) ? value.join(', ') : value]],
    ),
  )
}

const UNREACHABLE = /^E(CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH|HOSTDOWN|ADDRNOTAVAIL|PIPE|ACCES|PERM)$/
const TLS_FAILURE = /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH)/

function toEgressError(error: unknown): EgressError {
  if (error instanceof EgressError) return error
  const code = codeOf(error)
  if (/TIMEOUT|ETIMEDOUT/.test(code)) return new EgressError('timeout', { cause: error })
  if (code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'HPE_HEADER_OVERFLOW') {
    return new EgressError('too_large', { cause: error })
  }
  if (UNREACHABLE.test(code)) return new EgressError('connect', { cause: error })
  if (TLS_FAILURE.test(code)) return new EgressError('tls', { cause: error })
  return new EgressError('protocol', { cause: error })
}

/** Several addresses that all failed come as one AggregateError, which carries the code of the first. */
function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : ''
}
