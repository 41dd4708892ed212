/**
 * Deliveries: one event on its way to one endpoint, and the tries that were made of it.
 *
 *   pending ──2xx──▶ delivered        pending ──last try failed──▶ exhausted (its job is a dead letter: retried by hand, it is
 *      ▲  └─other─▶ pending, later                                  tried again from the first delay on)
 *      │                              pending ──410, or the endpoint is disabled or deleted──▶ dropped
 *      └──replayed── delivered, exhausted, dropped
 *
 * A pending one has a job, or is put aside while its endpoint's circuit is not closed (circuit.ts).
 */
import type { DeliveryId, EventId, TenantId, WebhookId } from '../../kernel/ids.js'
import type { PublicEventType } from '../events/event.js'

export const deliveryStatuses = ['pending', 'delivered', 'exhausted', 'dropped'] as const
export type DeliveryStatus = (typeof deliveryStatuses)[number]

export interface DeliveryKey {
  readonly tenantId: TenantId
  readonly deliveryId: DeliveryId
}

export interface Delivery {
  readonly id: DeliveryId
  readonly tenantId: TenantId
  readonly endpointId: WebhookId
  readonly eventId: EventId
  readonly eventType: PublicEventType
  readonly status: DeliveryStatus
  readonly attemptCount: number
  readonly nextAttemptAt: Date | null
  /** Put aside until the circuit of its endpoint is closed, or this one is the probe. */
  readonly waitsForCircuit: boolean
  readonly createdAt: Date
  readonly settledAt: Date | null
}

export interface Attempt {
  /** 1 at the first try. */
  readonly number: number
  readonly startedAt: Date
  readonly durationMs: number
  /** HTTP status; null when there was no answer. */
  readonly status: number | null
  /** Null on success. */
  readonly error: string | null
  /** The first 2 kB of the answer. */
  readonly answer: string | null
}

export const ANSWER_BYTES = 2_048

/** The start of an answer as PostgreSQL can keep it: within 2 kB, no broken character at the end, no NUL. */
export function startOfAnswer(body: string): string {
  const start = Buffer.from(body.slice(0, ANSWER_BYTES)).subarray(0, ANSWER_BYTES).toString()
  return start.replace(/\uFFFD$/, '').replaceAll('\0', '')
}
