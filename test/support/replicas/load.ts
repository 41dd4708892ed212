/**
 * Load on many numbers, out and in. Out goes through the API of whichever replica runs, by a client that never gives up and
 * writes each chat in order; in comes from each number's contacts. Every text is unique.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { postUntilAccepted } from '../patient-client.js'
import type { Chat, PairedNumber } from './numbers.js'
import type { Replicas } from './replicas.js'

export interface LoadOptions {
  /** Messages a second that each number sends. Default: 1. */
  readonly perNumberPerSecond?: number
  /** Messages a second that each number gets. Default: 0. */
  readonly inboundPerNumberPerSecond?: number
}

export interface Load {
  /** In the order of acceptance: what we were promised would go to this contact. */
  sentTo(phone: string): readonly string[]
  /** What this contact wrote, in order. */
  writtenBy(phone: string): readonly string[]
  /** All that was accepted so far. */
  readonly accepted: number
  readonly written: number
  /** Begins nothing more; resolves when what was begun is accepted. Rejects with what went wrong for good. */
  stop(): Promise<void>
}

/** A replica that was frozen or killed under the request: another one is asked soon. */
const ANSWER_TIMEOUT_MS = 2_000

export function startLoad(replicas: Replicas, numbers: readonly PairedNumber[], options: LoadOptions = {}): Load {
  const { perNumberPerSecond = 1, inboundPerNumberPerSecond = 0 } = options
  const sent = new Map<string, string[]>()
  const written = new Map<string, string[]>()
  const over = new AbortController()
  // Each chat listens to it.
  setMaxListeners(0, over.signal)
  const client: Pick<Replicas, 'api'> = {
    api: (method, path, request) => replicas.api(method, path, { ...request, timeoutMs: ANSWER_TIMEOUT_MS }),
  }
  const running = Promise.all(
    numbers.flatMap((number, place) =>
      number.chats.flatMap((chat, index) => {
        // Evenly over the period: all numbers at once would be a storm each time, and silence between.
        const share = (index + place / numbers.length) / number.chats.length
        const every = (rate: number) => (number.chats.length * 1_000) / rate
        return [
          repeat({ everyMs: every(perNumberPerSecond), share }, (n) => send(number, chat, n)),
          ...(inboundPerNumberPerSecond > 0
            ? [repeat({ everyMs: every(inboundPerNumberPerSecond), share }, (n) => write(number, chat, n))]
            : []),
        ]
      }),
    ),
  )
  // Whoever stops the load hears of it.
  running.catch(() => over.abort())

  return {
    sentTo: (phone) => sent.get(phone) ?? [],
    writtenBy: (phone) => written.get(phone) ?? [],
    get accepted() {
      return total(sent)
    },
    get written() {
      return total(written)
    },
    async stop() {
      over.abort()
      await running
    },
  }

  /** One after another, as often as the rate says when they are quick enough. `share`: where in the period it begins. */
  async function repeat(
    { everyMs, share }: { readonly everyMs: number; readonly share: number },
    work: (n: number) => Promise<void>,
  ): Promise<void> {
    await pause(everyMs * share)
    for (let n = 1; !over.signal.aborted; n++) {
      const startedAt = performance.now()
      await work(n)
      await pause(everyMs - (performance.now() - startedAt))
    }
  }

  async function pause(ms: number): Promise<void> {
    await sleep(Math.max(0, ms), undefined, { signal: over.signal }).catch(() => undefined)
  }

  async function send({ instanceId }: PairedNumber, { phone, to }: Chat, n: number): Promise<void> {
    const body = `to ${phone} #${n}`
    await postUntilAccepted(client, `${phone}-${n}`, { instanceId, to, type: 'text', text: { body } })
    append(sent, phone, body)
  }

  async function write({ account }: PairedNumber, { phone }: Chat, n: number): Promise<void> {
    const text = `from ${phone} #${n}`
    await replicas.simulator.admin('POST', `/admin/contacts/${phone}/send`, { to: account, text })
    append(written, phone, text)
  }
}

function append(map: Map<string, string[]>, key: string, text: string): void {
  const texts = map.get(key)
  if (texts) texts.push(text)
  else map.set(key, [text])
}

const total = (map: ReadonlyMap<string, readonly string[]>): number =>
  [...map.values()].reduce((sum, texts) => sum + texts.length, 0)
