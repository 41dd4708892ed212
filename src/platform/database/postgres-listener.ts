/**
 * LISTEN for all channels of a process over one session, which is opened with the first subscription and opened again for
 * ever when it breaks. Notifications sent while it was down are lost: `onReady` tells subscribers to look at the tables.
 */
import { backoffMs } from '../../kernel/backoff.js'
import type { Clock } from '../../kernel/clock.js'
import type { Random } from '../../kernel/random.js'
import type { Notification } from './database.js'
import type { PostgresSession } from './postgres-session.js'

export interface ListenerOptions {
  readonly open: (
    onLost: (error: Error) => void,
    onNotify: (notification: Notification) => void,
  ) => Promise<PostgresSession>
  readonly clock: Clock
  readonly random: Random
  readonly onError: (error: Error) => void
}

interface Subscriber {
  readonly onNotify: (payload: string) => void
  readonly onReady: () => void
}

export interface Listener {
  /** Resolves once the channel is listened to, or after the first attempt failed: then the rest happens by itself. */
  listen(channel: string, onNotify: (payload: string) => void, onReady?: () => void): Promise<() => Promise<void>>
  stop(): Promise<void>
}

const RECONNECT = { baseMs: 100, factor: 2, maxMs: 5_000, jitter: 0.3 }

export function createListener({ open, clock, random, onError }: ListenerOptions): Listener {
  const channels = new Map<string, Set<Subscriber>>()
  const stopped = new AbortController()
  let session: PostgresSession | undefined
  let connecting: Promise<void> | undefined
  let firstAttempt: Promise<void> | undefined

  return { listen, stop }

  async function listen(
    channel: string,
    onNotify: (payload: string) => void,
    onReady: () => void = () => {},
  ): Promise<() => Promise<void>> {
    if (stopped.signal.aborted) throw new Error('the database is closed')
    const subscriber = { onNotify, onReady }
    const isNew = !channels.has(channel)
    const subscribers = channels.get(channel) ?? new Set()
    channels.set(channel, subscribers.add(subscriber))
    if (session) await join(session, channel, isNew, subscriber)
    else await start()
    return () => leave(channel, subscriber)
  }

  /** A session that breaks here is opened again by its `onLost`, which then also serves this subscriber. */
  async function join(at: PostgresSession, channel: string, isNew: boolean, subscriber: Subscriber): Promise<void> {
    try {
      // LISTEN again costs nothing, and an UNLISTEN may be on its way.
      if (isNew) await at.command(`LISTEN ${quote(channel)}`)
      if (session === at) subscriber.onReady()
    } catch (error) {
      if (session === at) throw error
    }
  }

  async function leave(channel: string, subscriber: Subscriber): Promise<void> {
    const subscribers = channels.get(channel)
    if (!subscribers?.delete(subscriber) || subscribers.size > 0) return
    channels.delete(channel)
    const at = session
    await at?.command(`UNLISTEN ${quote(channel)}`).catch(() => {})
  }

  /** Resolves after the first attempt, whatever came of it. */
  function start(): Promise<void> {
    if (!connecting) {
      let attempted: () => void = () => {}
      firstAttempt = new Promise((resolve) => {
        attempted = resolve
      })
      connecting = reconnect(attempted).finally(() => {
        connecting = undefined
      })
    }
    return firstAttempt ?? Promise.resolve()
  }

  async function reconnect(attempted: () => void): Promise<void> {
    for (let attempt = 0; !stopped.signal.aborted; attempt++) {
      try {
        await connect()
        return attempted()
      } catch (error) {
        if (error instanceof Error) onError(error)
        attempted()
        await clock.sleep(backoffMs(attempt, RECONNECT, random), stopped.signal).catch(() => {})
      }
    }
    attempted()
  }

  async function connect(): Promise<void> {
    let alive = true
    const opened = await open(
      (error) => {
        alive = false
        if (session !== opened) return
        session = undefined
        onError(error)
        void start()
      },
      ({ channel, payload }) => {
        for (const { onNotify } of channels.get(channel) ?? []) onNotify(payload)
      },
    )
    try {
      await listenToAll(opened)
    } catch (error) {
      await opened.release()
      throw error
    }
    if (stopped.signal.aborted) return opened.release()
    if (!alive) throw new Error('Connection terminated unexpectedly')
    session = opened
    for (const subscribers of channels.values()) for (const { onReady } of subscribers) onReady()
  }

  /** Subscriptions may be added while an earlier LISTEN is under way. */
  async function listenToAll(opened: PostgresSession): Promise<void> {
    const listened = new Set<string>()
    for (let missing = [...channels.keys()]; missing.length > 0; ) {
      await opened.command(missing.map((channel) => `LISTEN ${quote(channel)}`).join('; '))
      for (const channel of missing) listened.add(channel)
      missing = [...channels.keys()].filter((channel) => !listened.has(channel))
    }
  }

  async function stop(): Promise<void> {
    stopped.abort()
    channels.clear()
    await connecting
    const at = session
    session = undefined
    await at?.release()
  }
}

const quote = (channel: string): string => `"${channel.replaceAll('"', '""')}"`
