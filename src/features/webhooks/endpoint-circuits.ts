/**
 * What deliveries ask of their endpoint's circuit, and tell it. While all goes well it costs nothing but a column that is
 * loaded anyway: rows are written at failures, and at the first success after them.
 */
import type { Clock } from '../../kernel/clock.js'
import { type DeliveryId, type IdGenerator, publicId, type WebhookId } from '../../kernel/ids.js'
import type { Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import { createBatcher } from '../../platform/database/batcher.js'
import type { Database, Tx } from '../../platform/database/database.js'
import { done, type Fate, type Job, type Jobs, snooze } from '../../platform/jobs/jobs.js'
import { record } from '../events/record.js'
import { circuitPolicy, createTryCounter, failsInARow, isHopeless } from './circuit.js'
import {
  beginProbe,
  closeCircuits,
  countFailures,
  type EndpointKey,
  endProbe,
  type Failing,
  openCircuit,
  type Parking,
  parkDeliveries,
} from './circuit-store.js'
import type { Parcel } from './delivery-store.js'
import type { DisabledReason } from './endpoint.js'
import { disableEndpoint } from './endpoint-store.js'
import { releaseJob } from './release-deliveries.js'

export interface EndpointCircuitsDeps {
  readonly db: Database
  readonly jobs: Pick<Jobs, 'enqueue' | 'enqueueAll'>
  readonly clock: Clock
  readonly random: Random
  readonly ids: IdGenerator
  readonly logger: Logger
}

export interface EndpointCircuits {
  /** Before a try. Undefined: it may be made; otherwise this is the job's fate. */
  pass(job: Job, parcel: Parcel): Promise<Fate | undefined>
  /** At once when a try is over, before the next is admitted. True: too many were bad, and `failed` will open the circuit. */
  count(parcel: Parcel, succeeded: boolean): boolean
  /** When the try is written down. */
  succeeded(parcel: Parcel): Promise<void>
  failed(parcel: Parcel, isBad: boolean): Promise<void>
}

const MAX_BATCH = 100

export function createEndpointCircuits({
  db,
  jobs,
  clock,
  random,
  ids,
  logger,
}: EndpointCircuitsDeps): EndpointCircuits {
  const tries = createTryCounter(clock)
  /** Whose failures this process has counted since it last closed their circuits: parcels loaded before do not know. */
  const failing = new Set<WebhookId>()
  const failures = createBatcher<EndpointKey, Failing | undefined>({ flush: countAll, maxItems: MAX_BATCH })
  const successes = createBatcher<EndpointKey, undefined>({ flush: closeAll, maxItems: MAX_BATCH })
  const parkings = createBatcher<Parking, boolean>({ flush: parkAll, maxItems: MAX_BATCH })

  return { pass, count, succeeded, failed }

  async function pass(job: Job, parcel: Parcel): Promise<Fate | undefined> {
    const { tenantId, deliveryId, endpoint } = parcel
    const { circuit } = endpoint
    if (circuit.state === 'closed' || isProbe(parcel)) return undefined
    const isProbeDue = circuit.probeAt !== null && circuit.probeAt.getTime() <= clock.now()
    if (isProbeDue && (await beginProbe(db, { tenantId, endpointId: endpoint.id, deliveryId }))) return undefined
    // It keeps its place, and those behind it in its chat theirs: only the heads of chats come here.
    if (endpoint.ordered) return snooze(new Date(clock.now() + circuitPolicy.probeEveryMs * (0.5 + random())))
    const isParked = await parkings.add({ tenantId, deliveryId, tries: job.attempt - 1 })
    // Otherwise the circuit has been closed meanwhile.
    return isParked ? done() : undefined
  }

  function count({ endpoint }: Parcel, isGood: boolean): boolean {
    return tries.count(endpoint.id, isGood)
  }

  async function succeeded({ tenantId, endpoint }: Parcel): Promise<void> {
    if (endpoint.circuit.failingSince === null && !failing.delete(endpoint.id)) return
    await successes.add({ tenantId, endpointId: endpoint.id })
  }

  async function failed(parcel: Parcel, isBad: boolean): Promise<void> {
    const { tenantId, deliveryId, endpoint } = parcel
    const key = { tenantId, endpointId: endpoint.id }
    const counted = await failures.add(key)
    failing.add(endpoint.id)
    const wasClosed = endpoint.circuit.state === 'closed'
    if (!wasClosed) await endProbe(db, { ...key, deliveryId })
    if (counted && isHopeless(counted, clock.now())) await disable(counted)
    else if (isBad || (wasClosed && counted && failsInARow(counted))) await open(key)
  }

  async function open(key: EndpointKey): Promise<void> {
    const dueAt = new Date(clock.now() + circuitPolicy.probeEveryMs)
    const opened = await db.tx(async (tx) => {
      const changed = await openCircuit(tx, key)
      if (changed) await jobs.enqueue(tx, releaseJob(key, dueAt))
      return changed
    })
    if (opened) logger.warn('WEBHOOK', 'the endpoint fails: its circuit is open', fieldsOf(key))
  }

  async function disable(failing: Failing): Promise<void> {
    const disabled = await db.tx((tx) =>
      disableWithNotice(tx, ids, failing, 'failing', { failingSince: failing.failingSince.toISOString() }),
    )
    if (disabled) logger.warn('WEBHOOK', 'the endpoint has failed for days and was disabled', fieldsOf(failing))
  }

  async function countAll(keys: readonly EndpointKey[]): Promise<(Failing | undefined)[]> {
    const found = new Map((await countFailures(db, keys)).map((failing) => [failing.endpointId, failing]))
    return keys.map(({ endpointId }) => found.get(endpointId))
  }

  async function closeAll(keys: readonly EndpointKey[]): Promise<undefined[]> {
    const closed = await db.tx(async (tx) => {
      const wereOpen = await closeCircuits(tx, keys)
      await jobs.enqueueAll(
        tx,
        wereOpen.map((key) => releaseJob(key)),
      )
      return wereOpen
    })
    for (const key of closed) logger.info('WEBHOOK', 'the endpoint answers again: its circuit is closed', fieldsOf(key))
    return keys.map(() => undefined)
  }

  async function parkAll(items: readonly Parking[]): Promise<boolean[]> {
    const parked: ReadonlySet<DeliveryId> = await parkDeliveries(db, items)
    return items.map(({ deliveryId }) => parked.has(deliveryId))
  }
}

/** Disables an endpoint and records `webhook.disabled` with the reason. False when it was not enabled (any more). */
export async function disableWithNotice(
  tx: Tx,
  ids: IdGenerator,
  { tenantId, endpointId }: EndpointKey,
  reason: DisabledReason,
  more: Readonly<Record<string, unknown>> = {},
): Promise<boolean> {
  if (!(await disableEndpoint(tx, tenantId, endpointId, reason))) return false
  const data = { reason, ...more }
  const id = ids.next('evt')
  await record(tx, [{ id, tenantId, type: 'webhook.disabled', instanceId: null, subjectId: endpointId, data }])
  return true
}

const isProbe = ({ deliveryId, endpoint }: Parcel): boolean =>
  endpoint.circuit.state === 'half_open' && endpoint.circuit.probeDeliveryId === deliveryId

const fieldsOf = ({ endpointId }: EndpointKey) => ({ endpoint: publicId('whe', endpointId) })
