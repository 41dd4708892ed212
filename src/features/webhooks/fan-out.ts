/**
 * The job `fan-out`: an event becomes one delivery for each endpoint that wants it, each with its job, and its body is
 * frozen, all in one statement. Run twice it adds nothing. What is claimed together travels together: a burst of events
 * costs a few statements per hundred. Deliveries begin in this process, as far as it has places for them.
 *
 * Fan-outs run in any order, on any worker; an ordered endpoint must not notice. For such a one the fan-out of an event first
 * makes the deliveries of all before it that the endpoint wants, in sequence, under the lock of the endpoint's position; those
 * of one chat share a key, and jobs of one key run one after another.
 */
import type { EventId, IdGenerator, WebhookId } from '../../kernel/ids.js'
import { createBatcher } from '../../platform/database/batcher.js'
import { type Database, isDatabaseUnavailable, type Tx } from '../../platform/database/database.js'
import { done, type JobHandler, type JobPolicy, type Jobs } from '../../platform/jobs/jobs.js'
import { type Body, makeBodies } from '../events/bodies.js'
import type { EventKey } from '../events/event-store.js'
import type { ShowEvents } from '../events/event-view.js'
import { insertDeliveries } from './delivery-store.js'
import { findTargetsBetween, lockOrderedPosition, moveOrderedPosition, type Target } from './endpoint-store.js'
import { findWanted, insertFannedOut } from './fan-out-store.js'

export interface FanOutDeps {
  readonly db: Database
  readonly jobs: Pick<Jobs, 'enqueueAll' | 'reserve'>
  readonly show: ShowEvents
  readonly ids: IdGenerator
}

/** The jobs of kind `fan-out`. It calls nobody, so it fails only with the database or on a body that cannot be made. */
export const fanOutPolicy: JobPolicy = {
  maxAttempts: 10,
  retryDelaysMs: [1_000, 5_000, 30_000, 60_000, 300_000],
  timeoutMs: 30_000,
  concurrency: 200,
}

const MAX_BATCH = 100
/** Positions of the sequence that are looked at in one transaction for an ordered endpoint. */
const ORDERED_STEP = 1_000n

/** Undefined when it went well: one event that cannot be shown must not fail those beside it. */
type Failure = { readonly error: unknown } | undefined

export function createFanOut({ db, jobs, show, ids }: FanOutDeps): JobHandler {
  const batcher = createBatcher<EventKey, Failure>({ flush, maxItems: MAX_BATCH })

  return async function fanOut(job) {
    const failure = await batcher.add({ tenantId: job.tenantId, eventId: job.id as EventId })
    if (failure) throw failure.error
    return done()
  }

  async function flush(keys: readonly EventKey[]): Promise<readonly Failure[]> {
    try {
      await fanOutAll(keys)
      return keys.map(() => undefined)
    } catch (error) {
      if (isDatabaseUnavailable(error)) throw error
      if (keys.length === 1) return [{ error }]
      const failures: Failure[] = []
      for (const key of keys) failures.push(...(await flush([key])))
      return failures
    }
  }

  async function fanOutAll(keys: readonly EventKey[]): Promise<void> {
    const { events, targets } = await findWanted(db, keys)
    if (targets.length === 0) return
    const bodies = await makeBodies(show, events)
    const ordered = targets.filter(({ orderKey }) => orderKey !== null)
    for (const last of lastOfEach(ordered)) await fanOutInOrder(last)
    await deliverHere(
      bodies,
      targets.filter(({ orderKey }) => orderKey === null),
    )
    // What was recorded before their endpoint became an ordered one: the rest is there.
    if (ordered.length > 0) await db.tx((tx) => deliver(tx, ordered))
  }

  async function deliverHere(bodies: readonly Body[], targets: readonly Target[]): Promise<void> {
    const deliveries = targets.map((target) => ({ ...target, id: ids.next('dlv') }))
    const places = jobs.reserve('deliver-webhook', deliveries.length)
    const inserting = insertFannedOut(db, { bodies, deliveries, insertJobs: places.insertFrom })
    const inserted = await inserting.catch((error: unknown) => {
      places.begin([])
      throw error
    })
    places.begin(inserted)
  }

  /** Up to this target's event, in bounded steps. */
  async function fanOutInOrder({ tenantId, endpointId, sequence }: Target): Promise<void> {
    for (let isBehind = true; isBehind; ) {
      isBehind = await db.tx(async (tx) => {
        const after = await lockOrderedPosition(tx, tenantId, endpointId)
        if (after === undefined || after >= sequence) return false
        const upTo = after + ORDERED_STEP < sequence ? after + ORDERED_STEP : sequence
        await deliver(tx, await findTargetsBetween(tx, { tenantId, endpointId }, { after, upTo }))
        await moveOrderedPosition(tx, tenantId, endpointId, upTo)
        return upTo < sequence
      })
    }
  }

  async function deliver(tx: Tx, targets: readonly Target[]): Promise<void> {
    if (targets.length === 0) return
    const planned = targets.map((target) => ({ ...target, id: ids.next('dlv') }))
    const made = new Set((await insertDeliveries(tx, planned)).map(({ deliveryId }) => deliveryId))
    await jobs.enqueueAll(
      tx,
      planned
        .filter(({ id }) => made.has(id))
        .map(({ tenantId, id, orderKey }) => ({
          kind: 'deliver-webhook',
          tenantId,
          id,
          ...(orderKey === null ? {} : { key: orderKey }),
        })),
    )
  }
}

/** For each endpoint the target that is the last in sequence. */
function lastOfEach(targets: readonly Target[]): Target[] {
  const last = new Map<WebhookId, Target>()
  for (const target of targets) {
    const other = last.get(target.endpointId)
    if (!other || other.sequence < target.sequence) last.set(target.endpointId, target)
  }
  return [...last.values()]
}
