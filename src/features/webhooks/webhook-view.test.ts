import { expect, it } from 'vitest'
import { createIdGenerator } from '../../kernel/ids.js'
import type { Delivery } from './delivery.js'
import { viewDeliveryWithAttempts } from './webhook-view.js'

const ids = createIdGenerator()
const at = new Date('2026-11-21T12:00:00Z')

it('a delivery never shows an attempt that its status does not know of yet', () => {
  const delivery: Delivery = {
    id: ids.next('dlv'),
    tenantId: ids.next('ten'),
    endpointId: ids.next('whe'),
    eventId: ids.next('evt'),
    eventType: 'webhook.tested',
    status: 'pending',
    attemptCount: 1,
    nextAttemptAt: at,
    waitsForCircuit: false,
    createdAt: at,
    settledAt: null,
  }
  // The second one was read after a worker had delivered it, the delivery before.
  const attempts = [500, 204].map((status, index) => ({
    ...{ number: index + 1, startedAt: at, durationMs: 5, status, error: null, answer: null },
  }))
  expect(viewDeliveryWithAttempts(delivery, attempts)).toMatchObject({ status: 'pending', attempts: [{ status: 500 }] })
  expect(viewDeliveryWithAttempts({ ...delivery, attemptCount: 2 }, attempts).attempts).toHaveLength(2)
})
