/** Mirante's HTTP API for the commands: JSON in and out, problem documents as sentences, events as they come. */
import { type Flags, readClientConfig } from '../config.js'
import { EXIT, UnreachableError, UsageError } from '../exit-codes.js'
import { didYouMean } from './suggest.js'

/** An event as the API shows it. */
export interface LiveEvent {
  readonly id: string
  readonly sequence: number
  readonly type: string
  readonly timestamp: string
  readonly data: Readonly<Record<string, unknown>>
}

/** A frame of the live stream: an event, or only the position from which one would go on. */
export interface LiveFrame {
  readonly position?: number
  readonly event?: LiveEvent
}

export interface Page<Item> {
  readonly data: readonly Item[]
  readonly nextCursor: string | null
}

export interface ApiClient {
  /** Without a slash at the end. */
  readonly url: string
  get<Answer>(path: string): Promise<Answer>
  /** All pages of a list, item by item. */
  list<Item>(path: string): AsyncGenerator<Item>
  /** The same at once, for lists that are short. */
  all<Item>(path: string): Promise<Item[]>
  /** With a key, the call may be repeated without doing it twice. */
  post<Answer>(path: string, body?: unknown, idempotencyKey?: string): Promise<Answer>
  /** Resolves when the stream is open: events from now on, or after this one. It ends when the connection does. */
  live(filter: Readonly<Record<string, string>>, options?: LiveOptions): Promise<AsyncGenerator<LiveFrame>>
  /** The id of an instance by its id or its name. */
  instanceId(idOrName: string): Promise<string>
}

interface LiveOptions {
  readonly after?: number | undefined
  readonly signal?: AbortSignal
}

export interface ConnectionArgs {
  readonly url?: string | undefined
  readonly key?: string | undefined
}

/** An answer that is a problem document, or no answer of ours at all. */
export class ApiError extends Error {
  readonly exitCode = EXIT.failed
  readonly status: number
  readonly code: string | undefined

  constructor(status: number, problem: Readonly<Record<string, unknown>>) {
    super(sentenceOf(status, problem))
    this.name = 'ApiError'
    this.status = status
    this.code = typeof problem.code === 'string' ? problem.code : undefined
  }
}

const TIMEOUT_MS = 40_000
/** The server writes something every 15 s: what has been silent for this long is broken. */
const SILENCE_MS = 45_000

/** From `--url` and `--key` or the environment. Throws ConfigError or UsageError. */
export function clientFrom(args: ConnectionArgs): ApiClient {
  const flags: Flags = { MIRANTE_URL: args.url, MIRANTE_API_KEY: args.key }
  const { url, apiKey } = readClientConfig(flags)
  if (!apiKey) throw new UsageError('No API key: set MIRANTE_API_KEY, or use --key.')
  return createApiClient(url, apiKey)
}

/** @param timeoutMs for each call but the live stream */
export function createApiClient(url: string, apiKey: string, timeoutMs = TIMEOUT_MS): ApiClient {
  const headers = { authorization: `Bearer ${apiKey}` }

  async function call(path: string, init: RequestInit): Promise<Response> {
    const response = await reach(new URL(path, url), init)
    if (response.ok) return response
    throw new ApiError(response.status, await readProblem(response))
  }

  const get = async <Answer>(path: string): Promise<Answer> =>
    read<Answer>(await call(path, { headers, signal: AbortSignal.timeout(timeoutMs) }))

  async function* list<Item>(path: string): AsyncGenerator<Item> {
    const separator = path.includes('?') ? '&' : '?'
    for (let cursor: string | null = ''; cursor !== null; ) {
      const after = cursor && `&cursor=${encodeURIComponent(cursor)}`
      const page: Page<Item> = await get(`${path}${separator}limit=200${after}`)
      yield* page.data
      cursor = page.nextCursor
    }
  }

  return {
    url: url.replace(/\/+$/, ''),
    get,
    list,
    async all<Item>(path: string) {
      const items: Item[] = []
      for await (const item of list<Item>(path)) items.push(item)
      return items
    },
    async post<Answer>(path: string, body?: unknown, idempotencyKey?: string) {
      const response = await call(path, {
        method: 'POST',
        headers: {
          ...headers,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(idempotencyKey ? { 'idempotency-key': idempotencyKey } : {}),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeoutMs),
      })
      return read<Answer>(response)
    },
    async live(filter, { after, signal } = {}) {
      const query = new URLSearchParams(filter)
      const response = await call(`/api/live?${query}`, {
        headers: {
          ...headers,
          accept: 'text/event-stream',
          ...(after === undefined ? {} : { 'last-event-id': String(after) }),
        },
        ...(signal && { signal }),
      })
      return readFrames(response.body ?? new ReadableStream())
    },
    async instanceId(idOrName) {
      if (idOrName.startsWith('ins_')) return idOrName
      const names: string[] = []
      for await (const { id, name } of list<{ id: string; name: string }>('/api/instances')) {
        if (name === idOrName) return id
        names.push(name)
      }
      const known = didYouMean(idOrName, names) || ' See: mirante instances list, mirante instances create'
      throw new Error(`There is no instance called ${idOrName}.${known}`)
    },
  }
}

// Helpers

async function reach(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (cause) {
    if (init.signal?.aborted && (cause as Error).name === 'AbortError') throw cause
    const why = (cause as { cause?: { code?: string } }).cause?.code ?? (cause as Error).name
    throw new UnreachableError(
      `Mirante does not answer at ${url.origin} (${why}). Is it running? Start it with mirante serve, or name another place with --url.`,
      { cause },
    )
  }
}

/** Undefined where the answer has no body. */
async function read<Answer>(response: Response): Promise<Answer> {
  const text = await response.text()
  return (text === '' ? undefined : JSON.parse(text)) as Answer
}

async function readProblem(response: Response): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await response.json()) as Readonly<Record<string, unknown>>
  } catch {
    return {}
  }
}

function sentenceOf(
  status: number,
  { title, detail, code, action, errors }: Readonly<Record<string, unknown>>,
): string {
  const fields = Array.isArray(errors)
    ? (errors as { pointer?: string; detail?: string }[]).map((field) => `\n  ${field.pointer}: ${field.detail}`)
    : []
  const words = [
    title ?? `The server answered with HTTP ${status}, and not as Mirante does; check --url.`,
    detail,
    action,
  ]
  return `${words.filter(Boolean).join(' ')}${code ? ` (${code})` : ''}${fields.join('')}`
}

async function* readFrames(body: ReadableStream<Uint8Array>): AsyncGenerator<LiveFrame> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await within(SILENCE_MS, reader.read())
      if (done) return
      const blocks = (rest + decoder.decode(value, { stream: true })).split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const frame = parseFrame(block)
        if (frame) yield frame
      }
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

/** A block without id and data is a comment that keeps the connection alive. */
export function parseFrame(block: string): LiveFrame | undefined {
  const lines = block.split('\n')
  const valuesOf = (field: string) =>
    lines.filter((line) => line.startsWith(`${field}:`)).map((line) => line.slice(field.length + 1).trimStart())
  const [id] = valuesOf('id')
  const data = valuesOf('data')
  if (id === undefined && data.length === 0) return undefined
  return {
    ...(id === undefined ? {} : { position: Number(id) }),
    ...(data.length === 0 ? {} : { event: JSON.parse(data.join('\n')) as LiveEvent }),
  }
}

async function within<Result>(ms: number, work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new UnreachableError('The live stream fell silent.')), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
