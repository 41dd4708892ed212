/**
 * Follows the live stream for as long as it takes. Promises: every event after the start exactly once and in sequence, however
 * often the connection breaks or the server is restarted in between; only the first connection must succeed.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { UnreachableError } from '../exit-codes.js'
import { type ApiClient, ApiError, type LiveEvent } from './api-client.js'

export interface FollowOptions {
  readonly client: Pick<ApiClient, 'live'>
  readonly filter: Readonly<Record<string, string>>
  /** Begin after this position. Undefined: with what happens from now on. */
  readonly after?: number | undefined
  /** Ends the following. */
  readonly signal: AbortSignal
  /** The stream is open, for the first time or again. */
  readonly onOpen: (again: boolean) => void
  /** It has broken; it is opened again. Called once for each break. */
  readonly onBreak: (why: string) => void
}

const RECONNECT_MS = 500
const RECONNECT_MAX_MS = 5_000

export async function* followEvents(options: FollowOptions): AsyncGenerator<LiveEvent> {
  const { client, filter, signal, onOpen, onBreak } = options
  let position = options.after
  let wasOpen = false
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const stream = await client.live(filter, { after: position, signal })
      onOpen(wasOpen)
      wasOpen = true
      failures = 0
      for await (const frame of stream) {
        if (frame.event) yield frame.event
        position = frame.position ?? position
      }
      if (!signal.aborted) onBreak('it ended')
    } catch (error) {
      if (signal.aborted) return
      if (!wasOpen || !isPassing(error)) throw error
      if (failures === 0) onBreak((error as Error).message)
    }
    await delay(Math.min(RECONNECT_MS * 2 ** failures, RECONNECT_MAX_MS), undefined, { signal }).catch(() => {})
  }
}

/** A stream that breaks off is a TypeError of fetch. A key that was revoked meanwhile stays so. */
function isPassing(error: unknown): boolean {
  if (error instanceof ApiError) return error.status >= 500 || error.status === 429
  return error instanceof UnreachableError || error instanceof TypeError
}
