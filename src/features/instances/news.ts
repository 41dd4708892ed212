/** Lets a request wait for news that NOTIFY brings, without missing what comes between a look and the wait. */
import { createBell } from '../../kernel/bell.js'
import type { Clock } from '../../kernel/clock.js'
import type { Service } from '../../kernel/service.js'
import type { Database } from '../../platform/database/database.js'

export type NewsChannel = 'mirante_event' | 'mirante_command_settled'

export interface News extends Service {
  /**
   * Looks, and again whenever there is news about `about` (and now and then anyway), until the look brings something or
   * `timeoutMs` is over. Resolves to what it brought, or undefined.
   */
  until<Found>(request: NewsRequest<Found>): Promise<Found | undefined>
}

export interface NewsRequest<Found> {
  readonly channel: NewsChannel
  /** The payload of the notification. */
  readonly about: string
  readonly timeoutMs: number
  readonly look: () => Promise<Found | undefined>
}

/** A lost notification costs at most this. */
const POLL_MS = 1_000
/** Notifications that come closer together share a look: a busy tenant has many events a second. */
const GAP_MS = 30

export function createNews({ db, clock }: { readonly db: Database; readonly clock: Clock }): News {
  const waiting = new Map<string, Set<() => void>>()
  const unlisten: (() => Promise<void>)[] = []

  return {
    async start() {
      unlisten.push(await listen('mirante_event'))
      unlisten.push(await listen('mirante_command_settled'))
    },
    async stop() {
      for (const end of unlisten.splice(0)) await end()
    },
    until,
  }

  function listen(channel: NewsChannel): Promise<() => Promise<void>> {
    return db.listen(channel, (payload) => {
      for (const ring of waiting.get(`${channel} ${payload}`) ?? []) ring()
    })
  }

  async function until<Found>({ channel, about, timeoutMs, look }: NewsRequest<Found>): Promise<Found | undefined> {
    const bell = createBell()
    const key = `${channel} ${about}`
    waiting.set(key, (waiting.get(key) ?? new Set()).add(bell.ring))
    const deadline = clock.mono() + timeoutMs
    try {
      for (;;) {
        const found = await look()
        const leftMs = deadline - clock.mono()
        if (found !== undefined || leftMs <= 0) return found
        await clock.sleep(Math.min(GAP_MS, leftMs))
        const napMs = Math.max(0, Math.min(POLL_MS, leftMs - GAP_MS))
        await bell.rung((stop) => clock.sleep(napMs, stop))
      }
    } finally {
      waiting.get(key)?.delete(bell.ring)
      if (waiting.get(key)?.size === 0) waiting.delete(key)
    }
  }
}
