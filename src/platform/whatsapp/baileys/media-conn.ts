/**
 * WhatsApp's media servers: which they are (asked over the socket, good for a while), and bytes to and from them over https.
 * No other host is ever called: a message names a host of its sender's choice, which is ignored unless it is one of these.
 * (The library's own way keeps a failed question for the life of the socket, and calls whatever host a message names.)
 */
import type { Agent } from 'node:https'
import { request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { BinaryNode, WASocket } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import { MediaError } from '../whatsapp.js'

export interface MediaConn {
  /** Sends these bytes to one of the servers, whichever takes them; `body` is asked anew for each. */
  post(request: PostRequest): Promise<Posted>
  /** Rejects with MediaError `expired` when WhatsApp does not keep the file any more. */
  get(place: { readonly path: string; readonly host: string | undefined }, signal: AbortSignal): Promise<Readable>
}

export interface PostRequest {
  readonly path: string
  readonly query: (auth: string) => string
  readonly size: number
  readonly body: () => AsyncIterable<Uint8Array>
  readonly signal: AbortSignal
}

export interface Posted {
  readonly url: string
  readonly directPath: string
}

interface Servers {
  readonly hosts: readonly string[]
  readonly auth: string
  readonly expiresAt: number
}

const QUESTION: BinaryNode = {
  tag: 'iq',
  attrs: { type: 'set', xmlns: 'w:m', to: '@s.whatsapp.net' },
  content: [{ tag: 'media_conn', attrs: {} }],
}
const ORIGIN = 'https://web.whatsapp.com'
const ANSWER_WITHIN_MS = 20_000
const IDLE_MS = 30_000
const MAX_ANSWER_BYTES = 64 * 1024
const WHATSAPP_HOST = /(^|\.)whatsapp\.net$/

export function createMediaConn(
  library: Pick<WASocket, 'query'>,
  { agent, clock }: { readonly agent: Agent | undefined; readonly clock: Clock },
): MediaConn {
  let known: Servers | undefined

  async function servers(fresh = false): Promise<Servers> {
    if (known && !fresh && clock.now() < known.expiresAt) return known
    known = undefined
    // Baileys answers a timeout with nothing.
    const answer = (await library.query(QUESTION, ANSWER_WITHIN_MS).catch(unreachable)) as BinaryNode | undefined
    known = readServers(answer, clock.now())
    return known
  }

  return {
    async post(request) {
      let refusal: unknown
      for (const fresh of [false, true]) {
        const { hosts, auth } = await servers(fresh)
        for (const host of hosts) {
          try {
            return await postTo(host, auth, request)
          } catch (error) {
            if (request.signal.aborted) throw error
            refusal = error
          }
        }
      }
      throw refusal
    },
    async get({ path, host }, signal) {
      const server = host && WHATSAPP_HOST.test(host) ? host : await ownHost(host)
      const url = new URL(path, `https://${server}`)
      if (url.host !== server) throw new MediaError('expired')
      return getFrom(url, signal)
    },
  }

  /** The host that a message names, if it is one of ours now; else our first. */
  async function ownHost(named: string | undefined): Promise<string> {
    const { hosts } = await servers()
    return hosts.find((host) => host === named) ?? hosts[0] ?? ''
  }

  async function postTo(host: string, auth: string, { path, query, size, body, signal }: PostRequest): Promise<Posted> {
    const url = new URL(`https://${host}${path}?${query(auth)}`)
    const headers = { origin: ORIGIN, 'content-type': 'application/octet-stream', 'content-length': size }
    const request = httpsRequest(url, { method: 'POST', agent, headers, signal, timeout: IDLE_MS })
    request.on('timeout', () => request.destroy(new MediaError('unreachable')))
    const answered = new Promise<string>((resolve, reject) => {
      request.on('error', reject)
      request.on('response', (response) => readText(response).then(resolve, reject))
    })
    // A server that answers before it has read all says with its answer why.
    answered.catch(() => undefined)
    const [answer, sent] = await Promise.allSettled([answered, pipeline(Readable.from(body()), request)])
    if (answer.status === 'rejected') return unreachable(sent.status === 'rejected' ? sent.reason : answer.reason)
    return readPosted(answer.value)
  }

  function getFrom(url: URL, signal: AbortSignal): Promise<Readable> {
    return new Promise((resolve, reject) => {
      const request = httpsRequest(url, { agent, headers: { origin: ORIGIN }, signal, timeout: IDLE_MS })
      const fail = (cause: unknown) => reject(new MediaError('unreachable', { cause }))
      request.on('timeout', () => request.destroy(new MediaError('unreachable')))
      request.on('error', fail)
      request.on('response', (response) => {
        const { statusCode = 0 } = response
        if (statusCode === 200) return resolve(response)
        response.resume()
        const isGone = statusCode === 404 || statusCode === 410 || statusCode === 403
        reject(new MediaError(isGone ? 'expired' : 'unreachable'))
      })
      request.end()
    })
  }
}

function readServers(answer: BinaryNode | undefined, now: number): Servers {
  const found = childrenOf(answer).find(({ tag }) => tag === 'media_conn')
  const hosts = childrenOf(found).flatMap(({ tag, attrs }) =>
    tag === 'host' && attrs.hostname ? [attrs.hostname] : [],
  )
  const { auth, ttl } = found?.attrs ?? {}
  if (!auth || hosts.length === 0) throw new MediaError('unreachable')
  return { hosts, auth, expiresAt: now + Number(ttl ?? 0) * 1_000 }
}

const childrenOf = (node: BinaryNode | undefined): BinaryNode[] => (Array.isArray(node?.content) ? node.content : [])

function readPosted(text: string): Posted {
  try {
    const { url, direct_path: directPath } = JSON.parse(text) as { url?: unknown; direct_path?: unknown }
    if (typeof url === 'string' && typeof directPath === 'string') return { url, directPath }
  } catch (cause) {
    return unreachable(cause)
  }
  return unreachable(undefined)
}

async function readText(response: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length <= MAX_ANSWER_BYTES) chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function unreachable(cause: unknown): never {
  throw new MediaError('unreachable', { cause })
}
