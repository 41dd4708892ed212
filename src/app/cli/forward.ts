/**
 * Posts events to a server on the developer's machine as Mirante's own webhooks would: the same body, headers and signature.
 * Promises: one after another, in order; while that server is down an event waits for it. Any answer is an answer.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { signatureOf } from '../../features/webhooks/signature.js'
import { UsageError } from '../exit-codes.js'
import type { LiveEvent } from './api-client.js'

export interface Forwarded {
  /** HTTP status; null when there was no answer. */
  readonly status: number | null
  readonly durationMs: number
  readonly attempts: number
  /** Null when there was an answer. */
  readonly error: string | null
}

export interface ForwarderOptions {
  readonly url: string
  readonly secret: string
  /** Stops the waiting for a server that is down. */
  readonly signal: AbortSignal
  /** Once each time that it goes down, and once when it is back. */
  readonly onDown: (why: string) => void
  readonly onBack: () => void
  /** @default 1000 */
  readonly retryEveryMs?: number
  /** @default 15000, as for webhooks */
  readonly timeoutMs?: number
}

/** What says that nobody listens there now. */
const DOWN = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['UND_ERR_SOCKET', 'UND_ERR_CONNECT_TIMEOUT'],
])

/** Resolves to what became of the event; undefined when the signal ended the waiting. */
export type Forward = (event: LiveEvent) => Promise<Forwarded | undefined>

export function createForwarder(options: ForwarderOptions): Forward {
  const { url, secret, signal, onDown, onBack, retryEveryMs = 1_000, timeoutMs = 15_000 } = options

  return async function forward(event) {
    let isDown = false
    for (let attempts = 1; !signal.aborted; attempts++) {
      const result = await post(event)
      if (typeof result !== 'string') {
        if (isDown) onBack()
        return { ...result, attempts }
      }
      if (!isDown) onDown(result)
      isDown = true
      await delay(retryEveryMs, undefined, { signal }).catch(() => {})
    }
    return undefined
  }

  /** Resolves to the code of the error where nobody listens. */
  async function post({
    id,
    sequence,
    type,
    timestamp,
    data,
  }: LiveEvent): Promise<Omit<Forwarded, 'attempts'> | string> {
    const body = JSON.stringify({ type, timestamp, data })
    const seconds = Math.floor(Date.now() / 1_000)
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'Mirante-Webhooks',
      'webhook-id': id,
      'webhook-timestamp': String(seconds),
      'webhook-signature': signatureOf({ id, timestamp: seconds, body }, [secret]),
      'mirante-sequence': String(sequence),
    }
    const began = performance.now()
    const since = () => Math.round(performance.now() - began)
    try {
      const limit = AbortSignal.timeout(timeoutMs)
      const answer = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal: limit })
      await answer.arrayBuffer()
      return { status: answer.status, durationMs: since(), error: null }
    } catch (error) {
      const why = codeOf(error)
      return DOWN.has(why) ? why : { status: null, durationMs: since(), error: why }
    }
  }
}

function codeOf(error: unknown): string {
  const { name, cause } = error as { name?: string; cause?: { code?: string; message?: string } }
  if (name === 'TimeoutError') return 'timeout'
  return cause?.code ?? cause?.message ?? String(name)
}

/** `4000`, `localhost:4000/hook` and whole URLs alike. Throws UsageError. */
export function forwardUrl(text: string): string {
  const whole = /^\d+$/.test(text) ? `http://127.0.0.1:${text}/` : text.includes('://') ? text : `http://${text}`
  if (URL.canParse(whole) && /^https?:$/.test(new URL(whole).protocol)) return whole
  throw new UsageError(`--forward-to takes a URL such as http://localhost:4000/hook, and not "${text}".`)
}

/** As Standard Webhooks has it: `whsec_` and the base64 of 24 to 64 bytes. Throws UsageError. */
export function checkSecret(secret: string): string {
  const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1]
  const bytes = encoded === undefined ? 0 : Buffer.from(encoded, 'base64').length
  if (bytes >= 24 && bytes <= 64) return secret
  throw new UsageError(
    '--secret takes whsec_ and the base64 of 24 to 64 bytes: echo "whsec_$(openssl rand -base64 32)". Without it, one is made.',
  )
}
