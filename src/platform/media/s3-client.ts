/**
 * Requests to one bucket of an S3 service, signed with AWS Signature Version 4. Promises: a request ends within its time;
 * what is safe to repeat is repeated with backoff while the service is busy or away, and nothing else is.
 */
import type { LookupFunction } from 'node:net'
import type { AwsV4Signer } from 'aws4fetch'
import type { Agent, Dispatcher } from 'undici'
import { type Backoff, backoffMs } from '../../kernel/backoff.js'
import type { Clock } from '../../kernel/clock.js'
import type { Random } from '../../kernel/random.js'

export interface S3Place {
  /** Where the service is: scheme, host and port. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  /** Before every key; empty, or ends with a slash. */
  readonly prefix: string
  /** `path`: endpoint/bucket/key. `host`: bucket.endpoint/key. */
  readonly style: 'path' | 'host'
  /** Where callers of presigned URLs find the service, if not at `endpoint`. */
  readonly publicEndpoint?: string | undefined
}

export interface S3ClientOptions {
  readonly place: S3Place
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly clock: Clock
  readonly random: Random
  /** @default the system's resolver */
  readonly lookup?: LookupFunction
  readonly limits?: Partial<S3Limits>
}

export interface S3Limits {
  /** For TCP and TLS, in ms. */
  readonly connectMs: number
  /** Until the answer begins, and between two pieces of it, in ms. */
  readonly idleMs: number
  /** After this long nothing is tried again, in ms. */
  readonly retryForMs: number
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Undefined: the bucket itself. */
  readonly key?: string | undefined
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** SHA-256 of the body in hex: the service checks it. */
  readonly bodySha256?: string
  /** Whether doing it twice is as doing it once. @default true */
  readonly repeatable?: boolean
  /** Tries beside the first. @default 4 */
  readonly retries?: number
  /** @default that of the limits */
  readonly idleMs?: number
}

export interface S3Answer {
  readonly status: number
  /** Of a header that came more than once, the first. */
  header(name: string): string | undefined
  /** Read it to its end, or destroy it. */
  readonly body: Dispatcher.ResponseData['body']
}

export interface PresignOptions {
  readonly key: string
  readonly query: Readonly<Record<string, string>>
  readonly expiresInSeconds: number
}

export interface S3Client {
  /** Resolves with an answer of 2xx. Rejects with S3Error. */
  send(request: S3Request): Promise<S3Answer>
  /** The same, with the body as text. */
  ask(request: S3Request): Promise<{ readonly text: string; readonly header: S3Answer['header'] }>
  /** The key of an object by its whole name in the bucket; undefined for what is not below our prefix. */
  ownKey(name: string): string | undefined
  /** A URL by which anybody may GET the object for so long. */
  presign(options: PresignOptions): Promise<string>
}

/** What the service refused, or why there is no answer. Its message names no key, no address and no secret. */
export class S3Error extends Error {
  /** Undefined: there was no answer. */
  readonly status: number | undefined
  /** As S3 calls it (`NoSuchKey`), or the code of a broken connection (`ECONNREFUSED`). */
  readonly code: string
  /** When it was answered by the service's clock, in ms since 1970. */
  readonly date: number | undefined
  /** The region that the service says it is in, when the region was wrong. */
  readonly region: string | undefined

  constructor(
    code: string,
    options: { status?: number; date?: number | undefined; region?: string | undefined; cause?: unknown } = {},
  ) {
    const { status, date, region, cause } = options
    super(`S3: ${status === undefined ? '' : `${status} `}${code}`, cause === undefined ? {} : { cause })
    this.name = 'S3Error'
    this.status = status
    this.code = code
    this.date = date
    this.region = region
  }
}

const LIMITS: S3Limits = { connectMs: 5_000, idleMs: 20_000, retryForMs: 20_000 }
const BACKOFF: Backoff = { baseMs: 200, factor: 2, maxMs: 3_000, jitter: 0.5 }
const RETRIES = 4
const MAX_ERROR_BYTES = 64 * 1024
/** SHA-256 of nothing. */
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

type Loaded = { undici: typeof import('undici'); agent: Agent; Signer: typeof AwsV4Signer }

export function createS3Client(options: S3ClientOptions): S3Client {
  const { place, accessKeyId, secretAccessKey, clock, random, lookup } = options
  const limits = { ...LIMITS, ...options.limits }
  const credentials = { accessKeyId, secretAccessKey, service: 's3', region: place.region }
  let loading: Promise<Loaded> | undefined

  const ownKey = (name: string): string | undefined =>
    name.startsWith(place.prefix) ? name.slice(place.prefix.length) : undefined
  return { send, ask, presign, ownKey }

  async function send(request: S3Request): Promise<S3Answer> {
    const startedAt = clock.mono()
    for (let tried = 0; ; tried++) {
      try {
        return await once(request)
      } catch (error) {
        const isOver = tried >= (request.retries ?? RETRIES) || clock.mono() - startedAt >= limits.retryForMs
        if (!(error instanceof S3Error) || isOver || !mayRepeat(error, request)) throw error
        await clock.sleep(backoffMs(tried, BACKOFF, random))
      }
    }
  }

  async function ask(request: S3Request) {
    const { body, header } = await send(request)
    try {
      return { text: await body.text(), header }
    } catch (cause) {
      throw new S3Error(codeOf(cause), { cause })
    }
  }

  async function once({ method, key, query = {}, headers = {}, body, bodySha256, idleMs }: S3Request) {
    const { undici, agent, Signer } = await load()
    const url = urlOf(place.endpoint, key, query)
    const signed = await new Signer({
      ...{ ...credentials, method, url: url.href, datetime: datetime() },
      headers: { ...headers, 'x-amz-content-sha256': body === undefined ? EMPTY : (bodySha256 ?? 'UNSIGNED-PAYLOAD') },
    }).sign()
    let answer: Dispatcher.ResponseData
    try {
      answer = await undici.request(url, {
        ...{ method, dispatcher: agent, headers: Object.fromEntries(signed.headers) },
        ...{ headersTimeout: idleMs ?? limits.idleMs, bodyTimeout: limits.idleMs },
        body: body ?? null,
      })
    } catch (cause) {
      throw new S3Error(codeOf(cause), { cause })
    }
    const header = (name: string): string | undefined => [answer.headers[name] ?? []].flat()[0]
    if (answer.statusCode >= 200 && answer.statusCode < 300) {
      return { status: answer.statusCode, header, body: answer.body }
    }
    throw refusal(answer.statusCode, await readSome(answer.body), header)
  }

  async function presign({ key, query, expiresInSeconds }: PresignOptions): Promise<string> {
    const { Signer } = await load()
    const url = urlOf(place.publicEndpoint ?? place.endpoint, key, {
      ...query,
      'X-Amz-Expires': String(expiresInSeconds),
    })
    const signed = await new Signer({
      ...{ ...credentials, method: 'GET', url: url.href, datetime: datetime(), signQuery: true },
    }).sign()
    return signed.url.href
  }

  function urlOf(endpoint: string, key: string | undefined, query: Readonly<Record<string, string>>): URL {
    const url = new URL(endpoint)
    if (place.style === 'host') url.hostname = `${place.bucket}.${url.hostname}`
    const base = place.style === 'host' ? '' : `/${place.bucket}`
    url.pathname = key === undefined ? base || '/' : `${base}/${place.prefix}${key}`
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return url
  }

  function datetime(): string {
    return new Date(clock.now()).toISOString().replaceAll(/[:-]|\.\d{3}/g, '')
  }

  /** Loaded at the first request: who keeps media in a directory never loads it. */
  function load(): Promise<Loaded> {
    loading ??= Promise.all([import('undici'), import('aws4fetch')]).then(([undici, { AwsV4Signer: Signer }]) => ({
      ...{ undici, Signer },
      agent: new undici.Agent({ connect: { timeout: limits.connectMs, ...(lookup && { lookup }) } }),
    }))
    return loading
  }
}

/** The text of an element of S3's answers; undefined when there is none. They are flat enough for this. */
export function elementOf(xml: string, name: string): string | undefined {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
  return found?.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
}

export function refusal(status: number, xml: string, header: S3Answer['header']): S3Error {
  const code = elementOf(xml, 'Code') ?? `http_${status}`
  const date = Date.parse(header('date') ?? '')
  return new S3Error(code.slice(0, 80), {
    status,
    date: Number.isNaN(date) ? undefined : date,
    region: elementOf(xml, 'Region') ?? header('x-amz-bucket-region'),
  })
}

/** Without an answer, or with one that speaks of a moment. What may not be done twice only if it was surely not done. */
function mayRepeat({ status, code }: S3Error, { repeatable = true }: S3Request): boolean {
  if (status === undefined) return repeatable ? !isUnfit(code) : NOT_CONNECTED.has(code)
  if (status === 503 || status === 429 || code === 'SlowDown') return true
  return repeatable && (status >= 500 ? status !== 507 && status !== 501 : code === 'RequestTimeout')
}

const NOT_CONNECTED: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'UND_ERR_CONNECT_TIMEOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
])
/** A certificate does not become right by asking again. */
const isUnfit = (code: string): boolean => /CERT|ERR_TLS|ERR_SSL|SELF_SIGNED|EPROTO/.test(code)

const codeOf = (cause: unknown): string => {
  const { code, cause: inner } = cause as { code?: unknown; cause?: { code?: unknown } }
  const found = code ?? inner?.code
  return typeof found === 'string' ? found : 'broken_off'
}

async function readSome(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of body) {
      chunks.push(chunk)
      length += chunk.length
      if (length >= MAX_ERROR_BYTES) break
    }
  } catch {
    // The status says enough.
  }
  return Buffer.concat(chunks).toString('utf8')
}
