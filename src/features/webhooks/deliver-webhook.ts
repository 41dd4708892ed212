/**
 * The job `deliver-webhook`: one try of one delivery.
 *
 * Promises: at least once, always under the same `webhook-id` and with the same body; each try signed anew with the time of
 * that try. A crash between the answer and its record costs a second delivery, never a lost one: receivers drop repeats by
 * `webhook-id`. Promises an order to ordered endpoints only, by the keys of the jobs (fan-out.ts); for others
 * `mirante-sequence` has the event's position.
 */
import type { Clock } from '../../kernel/clock.js'
import { type DeliveryId, type IdGenerator, publicId } from '../../kernel/ids.js'
import type { Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import { createBatcher } from '../../platform/database/batcher.js'
import type { Database } from '../../platform/database/database.js'
import { EgressError } from '../../platform/egress/egress-error.js'
import type { Egress, EgressAnswer } from '../../platform/egress/http-client.js'
import {
  discard,
  done,
  type Fate,
  type Job,
  type JobHandler,
  type Jobs,
  retry,
  snooze,
} from '../../platform/jobs/jobs.js'
import { ensureBody } from '../events/bodies.js'
import type { ShowEvents } from '../events/event-view.js'
import type { DataKeys } from '../tenants/data-keys.js'
import { type DeliveryKey, startOfAnswer } from './delivery.js'
import type { DeliveryGate } from './delivery-gate.js'
import { type AttemptResult, dropDelivery, loadParcels, type Parcel, recordAttempts } from './delivery-store.js'
import { signingSecrets } from './endpoint.js'
import { createEndpointCircuits, disableWithNotice } from './endpoint-circuits.js'
import { type Answer, judge, type Outcome } from './outcome.js'
import { ATTEMPT_TIMEOUT_MS } from './retry-schedule.js'
import { signatureOf } from './signature.js'

export interface DeliverWebhookDeps {
  readonly db: Database
  readonly jobs: Pick<Jobs, 'enqueue' | 'enqueueAll'>
  readonly egress: Pick<Egress, 'post'>
  readonly dataKeys: DataKeys
  readonly show: ShowEvents
  readonly gate: DeliveryGate
  readonly clock: Clock
  readonly random: Random
  readonly ids: IdGenerator
  readonly logger: Logger
}

/** One try: what was answered, by when, how fast. */
interface Tried {
  readonly startedAt: Date
  readonly durationMs: number
  readonly answer: EgressAnswer | EgressError
}

interface Judged {
  readonly tried: Tried
  readonly outcome: Outcome
  /** The last straw: the circuit is to be opened. */
  readonly isBad: boolean
}

const MAX_BATCH = 100

export function createDeliverWebhook(deps: DeliverWebhookDeps): JobHandler {
  const { db, egress, dataKeys, show, gate, clock, random, ids, logger } = deps
  const loads = createBatcher<DeliveryKey, Parcel | undefined>({ flush: loadAll, maxItems: MAX_BATCH })
  const circuits = createEndpointCircuits(deps)
  const records = createBatcher<AttemptResult, undefined>({ flush: recordAll, maxItems: MAX_BATCH })

  return async function deliverWebhook(job, signal) {
    const parcel = await loads.add({ tenantId: job.tenantId, deliveryId: job.id as DeliveryId })
    if (!parcel) return discard('delivery_not_found')
    if (parcel.status === 'delivered' || parcel.status === 'dropped') return done()
    if (!parcel.endpoint.active) return drop(parcel)

    const halted = await circuits.pass(job, parcel)
    if (halted) return halted
    const { id: endpointId, circuit } = parcel.endpoint
    const admission = await gate.enter({ tenantId: parcel.tenantId, endpointId, failureCount: circuit.failureCount })
    if (!admission.admitted) return snooze(new Date(clock.now() + admission.comeBackInMs))
    return conclude(parcel, await attempt(job, parcel, signal).finally(admission.leave))
  }

  /** What turns out to be not worth calling rests before its seat is free: those who wait for one would go on calling. */
  async function attempt(job: Job, parcel: Parcel, signal: AbortSignal): Promise<Judged> {
    const tried = await post(parcel, signal)
    const outcome = judge(answerOf(tried), { attempt: job.attempt, nowMs: clock.now(), random })
    const isGone = outcome.result === 'gone'
    gate.note(parcel.endpoint.id, outcome.result === 'delivered')
    const isBad = !isGone && circuits.count(parcel, outcome.result === 'delivered')
    if (isBad || isGone) gate.rest(parcel.endpoint.id)
    return { tried, outcome, isBad }
  }

  async function post(parcel: Parcel, signal: AbortSignal): Promise<Tried> {
    const body = parcel.body ?? (await ensureBody(db, show, parcel))
    if (body === undefined) throw new Error('a delivery without its event')
    const now = clock.now()
    const id = publicId('evt', parcel.eventId)
    const timestamp = Math.floor(now / 1_000)
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'Mirante-Webhooks',
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signatureOf({ id, timestamp, body }, await signingSecrets(dataKeys, parcel.endpoint, now)),
      'mirante-sequence': String(parcel.sequence),
    }
    const began = clock.mono()
    const answer = await egress
      .post(parcel.endpoint.url, { headers, body, signal, timeoutMs: ATTEMPT_TIMEOUT_MS })
      .catch((error: unknown) => {
        // Cut short by us: no fault of the receiver, so no attempt of the delivery.
        if (!(error instanceof EgressError) || error.code === 'aborted') throw error
        return error
      })
    return { startedAt: new Date(now), durationMs: Math.round(clock.mono() - began), answer }
  }

  async function conclude(parcel: Parcel, { tried, outcome, isBad }: Judged): Promise<Fate> {
    const result = resultOf(parcel, tried, outcome, clock.now())
    if (outcome.result === 'gone') await close(parcel, result)
    else await records.add(result)
    if (outcome.result === 'delivered') await circuits.succeeded(parcel)
    else if (outcome.result !== 'gone') await circuits.failed(parcel, isBad)
    report(parcel, tried, outcome)
    switch (outcome.result) {
      case 'delivered':
      case 'gone':
        return done()
      case 'retry':
        return retry(outcome.error, outcome.afterMs)
      case 'exhausted':
        // The runner finds no try left and keeps the job as a dead letter.
        return retry(outcome.error)
    }
  }

  /** The receiver has said that it wants nothing any more. */
  async function close(parcel: Parcel, result: AttemptResult): Promise<void> {
    const { tenantId, endpoint } = parcel
    await db.tx(async (tx) => {
      await recordAttempts(tx, [result])
      await disableWithNotice(tx, ids, { tenantId, endpointId: endpoint.id }, 'gone')
    })
  }

  async function drop(parcel: Parcel): Promise<Fate> {
    await dropDelivery(db, parcel)
    return discard('endpoint_disabled')
  }

  /** Expected failures of other people's servers are data; the log only says what a person may want to look up. */
  function report(parcel: Parcel, { durationMs }: Tried, outcome: Outcome): void {
    const fields = {
      delivery: publicId('dlv', parcel.deliveryId),
      endpoint: publicId('whe', parcel.endpoint.id),
      durationMs,
    }
    if (outcome.result === 'delivered') {
      logger.debug('WEBHOOK', 'delivered', fields)
      return
    }
    const level = outcome.result === 'retry' ? 'info' : 'warn'
    logger[level]('WEBHOOK', sentences[outcome.result], { ...fields, reason: outcome.error })
  }

  async function loadAll(keys: readonly DeliveryKey[]): Promise<(Parcel | undefined)[]> {
    const found = new Map((await loadParcels(db, keys)).map((parcel) => [parcel.deliveryId, parcel]))
    return keys.map(({ deliveryId }) => found.get(deliveryId))
  }

  async function recordAll(results: readonly AttemptResult[]): Promise<undefined[]> {
    await recordAttempts(db, results)
    return results.map(() => undefined)
  }
}

const answerOf = ({ answer }: Tried): Answer => (answer instanceof EgressError ? { failure: answer.code } : answer)

const sentences = {
  retry: 'delivery failed and will be tried again',
  exhausted: 'delivery failed for the last time',
  gone: 'the endpoint says that it is gone and was disabled',
} as const

const statusAfter = {
  delivered: 'delivered',
  gone: 'dropped',
  retry: 'pending',
  exhausted: 'exhausted',
} as const satisfies Record<Outcome['result'], AttemptResult['deliveryStatus']>

function resultOf({ tenantId, deliveryId }: Parcel, tried: Tried, outcome: Outcome, nowMs: number): AttemptResult {
  const { startedAt, durationMs, answer } = tried
  const answered = answer instanceof EgressError ? undefined : answer
  return {
    tenantId,
    deliveryId,
    startedAt,
    durationMs,
    status: answered?.status ?? null,
    error: outcome.result === 'delivered' ? null : outcome.error,
    answer: answered ? startOfAnswer(answered.body) : null,
    deliveryStatus: statusAfter[outcome.result],
    nextAttemptAt: outcome.result === 'retry' ? new Date(nowMs + outcome.afterMs) : null,
  }
}
