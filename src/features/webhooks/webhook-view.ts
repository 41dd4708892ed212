/** The JSON of webhook endpoints, deliveries and attempts. A secret is in none of them but the answers that make one. */
import { z } from 'zod'
import { type EventId, idFromColumn, publicId, type TenantId } from '../../kernel/ids.js'
import { publicEventTypes, type RecordedEvent } from '../events/event.js'
import { type Circuit, circuitStates } from './circuit.js'
import { type Attempt, type Delivery, deliveryStatuses } from './delivery.js'
import type { Endpoint } from './endpoint.js'

const time = z.iso.datetime()

const endpointExample = {
  id: 'whe_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
  url: 'https://example.com/hooks/mirante',
  events: ['message.received', 'message.failed'],
  instanceId: null,
  format: 'standard',
  ordered: false,
  enabled: true,
  disabledReason: null,
  circuit: { state: 'closed', openedAt: null, nextProbeAt: null, failingSince: null },
  oldSecretUntil: null,
  createdAt: '2026-11-20T12:00:00.000Z',
  updatedAt: '2026-11-20T12:00:00.000Z',
}

const deliveryExample = {
  id: 'dlv_01J8Z3V9K7QW5XN2M4T6R8Y0BD',
  endpointId: 'whe_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
  eventId: 'evt_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
  eventType: 'message.received',
  status: 'pending',
  attemptCount: 1,
  nextAttemptAt: '2026-11-20T12:00:05.731Z',
  waitsForCircuit: false,
  createdAt: '2026-11-20T12:00:00.000Z',
  settledAt: null,
}

const attemptExample = {
  number: 1,
  startedAt: '2026-11-20T12:00:00.012Z',
  durationMs: 87,
  status: 503,
  error: 'http_503',
  answer: 'try again later',
}

export const endpointView = z
  .object({
    id: z.string().meta({ examples: ['whe_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
    url: z.string(),
    events: z.array(z.enum(publicEventTypes)).nullable().meta({ description: 'Null: all types.' }),
    instanceId: z.string().nullable().meta({ description: 'Null: events of all instances.' }),
    format: z.literal('standard'),
    ordered: z.boolean().meta({ description: 'The deliveries of one chat follow one another.' }),
    enabled: z.boolean(),
    disabledReason: z.string().nullable().meta({
      description: 'Why Mirante disabled it: `gone` (it answered 410) or `failing` (for five days without a success).',
    }),
    circuit: z.object({
      state: z.enum(circuitStates).meta({
        description:
          'open: it fails so often that deliveries wait; half_open: one of them is being tried. Nothing is lost meanwhile.',
      }),
      openedAt: time.nullable(),
      nextProbeAt: time.nullable().meta({ description: 'When the next delivery may be tried while it is open.' }),
      failingSince: time.nullable().meta({ description: 'The first failure since the last success.' }),
    }),
    oldSecretUntil: time.nullable().meta({ description: 'During a rotation: until when the old secret signs too.' }),
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: 'WebhookEndpoint', examples: [endpointExample] })

export const endpointWithSecret = endpointView
  .extend({ secret: z.string().meta({ description: 'Shown this once.', examples: ['whsec_…'] }) })
  .meta({
    id: 'WebhookEndpointWithSecret',
    examples: [{ ...endpointExample, secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=' }],
  })

export function viewEndpoint(endpoint: Endpoint, nowMs: number): z.infer<typeof endpointView> {
  const { oldUntil } = endpoint.secrets
  return {
    id: publicId('whe', endpoint.id),
    url: endpoint.url,
    events: endpoint.events === null ? null : [...endpoint.events],
    instanceId: endpoint.instanceId === null ? null : publicId('ins', endpoint.instanceId),
    format: endpoint.format,
    ordered: endpoint.ordered,
    enabled: endpoint.enabled,
    disabledReason: endpoint.disabledReason,
    circuit: viewCircuit(endpoint.circuit),
    oldSecretUntil: oldUntil && oldUntil.getTime() > nowMs ? oldUntil.toISOString() : null,
    createdAt: endpoint.createdAt.toISOString(),
    updatedAt: endpoint.updatedAt.toISOString(),
  }
}

const viewCircuit = ({ state, openedAt, probeAt, failingSince }: Circuit) => ({
  state,
  openedAt: openedAt?.toISOString() ?? null,
  nextProbeAt: state === 'open' ? (probeAt?.toISOString() ?? null) : null,
  failingSince: failingSince?.toISOString() ?? null,
})

export const deliveryView = z
  .object({
    id: z.string().meta({ examples: ['dlv_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
    endpointId: z.string(),
    eventId: z.string().meta({ description: 'The `webhook-id` of every try.' }),
    eventType: z.enum(publicEventTypes),
    status: z.enum(deliveryStatuses),
    attemptCount: z.int(),
    nextAttemptAt: time.nullable(),
    waitsForCircuit: z.boolean().meta({
      description: 'It is due, and waits because the circuit of its endpoint is open. It loses no try.',
    }),
    createdAt: time,
    settledAt: time.nullable(),
  })
  .meta({ id: 'Delivery', examples: [deliveryExample] })

export const deliveryWithAttempts = deliveryView
  .extend({
    attempts: z.array(
      z.object({
        number: z.int(),
        startedAt: time,
        durationMs: z.int(),
        status: z.int().nullable().meta({ description: 'HTTP status; null when there was no answer.' }),
        error: z
          .string()
          .nullable()
          .meta({ description: 'Null on success.', examples: ['http_500', 'timeout'] }),
        answer: z.string().nullable().meta({ description: 'The first 2 kB of the answer.' }),
      }),
    ),
  })
  .meta({ id: 'DeliveryWithAttempts', examples: [{ ...deliveryExample, attempts: [attemptExample] }] })

export const viewDelivery = (delivery: Delivery): z.infer<typeof deliveryView> => ({
  id: publicId('dlv', delivery.id),
  endpointId: publicId('whe', delivery.endpointId),
  eventId: publicId('evt', delivery.eventId),
  eventType: delivery.eventType,
  status: delivery.status,
  attemptCount: delivery.attemptCount,
  nextAttemptAt: delivery.nextAttemptAt?.toISOString() ?? null,
  waitsForCircuit: delivery.waitsForCircuit,
  createdAt: delivery.createdAt.toISOString(),
  settledAt: delivery.settledAt?.toISOString() ?? null,
})

/** The attempts may have been read a moment later than the delivery: one that it does not count yet is left out. */
export const viewDeliveryWithAttempts = (
  delivery: Delivery,
  attempts: readonly Attempt[],
): z.infer<typeof deliveryWithAttempts> => ({
  ...viewDelivery(delivery),
  attempts: attempts
    .filter(({ number }) => number <= delivery.attemptCount)
    .map((attempt) => ({ ...attempt, startedAt: attempt.startedAt.toISOString() })),
})

/** Describes `webhook.*` events: which endpoint, and what was recorded of it. */
export async function describeWebhookEvents(
  _tenantId: TenantId,
  events: readonly RecordedEvent[],
): Promise<ReadonlyMap<EventId, unknown>> {
  return new Map(
    events.map(({ id, subjectId, data }) => [
      id,
      { endpointId: subjectId === null ? null : publicId('whe', idFromColumn('whe', subjectId)), ...data },
    ]),
  )
}
