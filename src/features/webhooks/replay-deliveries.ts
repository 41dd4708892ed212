/**
 * Replay: recorded events are delivered to an endpoint again, under the same `webhook-id` and with the same body, signed anew.
 *
 * Promises: what is accepted happens, across crashes; a range is gone through in sequence by the job `replay-deliveries`, a
 * few hundred events at a transaction, so that no range is too long for it. What was recorded after the request is no part
 * of it.
 */
import { randomUUID } from 'node:crypto'
import type { EventId, IdGenerator, TenantId } from '../../kernel/ids.js'
import type { Database, Tx } from '../../platform/database/database.js'
import { done, type JobHandler, type Jobs } from '../../platform/jobs/jobs.js'
import { lastSequence } from '../events/event-store.js'
import type { EndpointKey } from './circuit-store.js'
import type { Target } from './endpoint-store.js'
import {
  countReplayed,
  eventFrom,
  findReplayed,
  findReplayedEvent,
  insertReplay,
  lockReplay,
  moveReplay,
  type ReplayRange,
  reopenDeliveries,
} from './replay-store.js'

export interface ReplayDeps {
  readonly db: Database
  readonly jobs: Pick<Jobs, 'enqueue' | 'enqueueAll'>
  readonly ids: IdGenerator
}

/** A longer range is refused: it is almost always a mistake in a date. */
export const MAX_REPLAYED = 100_000

const STEP = 200n
/** Positions that are looked at in one transaction, however few of their events are wanted. */
const WINDOW = 5_000n
/** An event's time is that of its transaction's beginning: within this, the order of times is not that of the sequence. */
const TIME_SPREAD_MS = 60_000

/** Delivers one event again. Undefined when there is no such event. */
export async function replayEvent(
  tx: Tx,
  { jobs, ids }: Pick<ReplayDeps, 'jobs' | 'ids'>,
  endpoint: EndpointKey,
  { eventId, dryRun }: { readonly eventId: EventId; readonly dryRun: boolean },
): Promise<number | undefined> {
  const target = await findReplayedEvent(tx, endpoint, eventId)
  if (!target) return undefined
  if (dryRun) return 1
  await redeliver(tx, { jobs, ids }, [target])
  return 1
}

/** Begins the replay of a range. Resolves to how many events it is about; more than `MAX_REPLAYED`: too many, and not begun. */
export async function replayRange(
  tx: Tx,
  jobs: Pick<Jobs, 'enqueue'>,
  endpoint: EndpointKey,
  { dryRun, ...wanted }: Pick<ReplayRange, 'since' | 'until' | 'onlyFailed'> & { readonly dryRun: boolean },
): Promise<number> {
  const { tenantId } = endpoint
  const last = await lastSequence(tx, tenantId)
  const after = await positionBefore(tx, tenantId, wanted.since.getTime() - TIME_SPREAD_MS, last)
  const range = { ...endpoint, ...wanted, after, last }
  const count = await countReplayed(tx, range, MAX_REPLAYED + 1)
  if (dryRun || count === 0 || count > MAX_REPLAYED) return count
  const id = randomUUID()
  await insertReplay(tx, { ...range, id })
  await jobs.enqueue(tx, { kind: 'replay-deliveries', tenantId, id })
  return count
}

export function createReplayDeliveries({ db, jobs, ids }: ReplayDeps): JobHandler {
  return async function replayDeliveries({ tenantId, id }, signal) {
    for (;;) {
      signal.throwIfAborted()
      const isOver = await db.tx((tx) => replayStep(tx, tenantId, id))
      if (isOver) return done()
    }
  }

  async function replayStep(tx: Tx, tenantId: TenantId, id: string): Promise<boolean> {
    const replay = await lockReplay(tx, tenantId, id)
    if (!replay) return true
    const last = replay.after + WINDOW < replay.last ? replay.after + WINDOW : replay.last
    const targets = await findReplayed(tx, { ...replay, last }, Number(STEP))
    await redeliver(tx, { jobs, ids }, targets)
    const wasCut = BigInt(targets.length) === STEP
    const reached = wasCut ? (targets.at(-1)?.sequence ?? last) : last
    await moveReplay(tx, replay, reached)
    return reached >= replay.last
  }
}

async function redeliver(
  tx: Tx,
  { jobs, ids }: Pick<ReplayDeps, 'jobs' | 'ids'>,
  targets: readonly Target[],
): Promise<void> {
  if (targets.length === 0) return
  const reopened = await reopenDeliveries(
    tx,
    targets.map((target) => ({ ...target, id: ids.next('dlv') })),
  )
  await jobs.enqueueAll(
    tx,
    targets.flatMap(({ tenantId, eventId, orderKey }) => {
      const id = reopened.get(eventId)
      if (id === undefined) return []
      // However often it is replayed, one such job at a time.
      return [{ kind: 'deliver-webhook', tenantId, id, dedupe: id, ...(orderKey === null ? {} : { key: orderKey }) }]
    }),
  )
}

/** The position before the first event that was recorded at this time or later, found by halving. */
async function positionBefore(tx: Tx, tenantId: TenantId, atMs: number, last: bigint): Promise<bigint> {
  let before = 0n
  let candidate = last
  while (before < candidate) {
    const middle = (before + candidate) / 2n
    const event = await eventFrom(tx, tenantId, middle + 1n)
    if (!event || event.createdAt.getTime() >= atMs) candidate = middle
    else before = event.sequence
  }
  return before
}
