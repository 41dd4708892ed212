/**
 * The job `release-deliveries`, one for each endpoint whose circuit is not closed: makes one of the deliveries that were put
 * aside the probe, every half minute, and puts all of them back to work, in bounded steps, once the circuit is closed or the
 * endpoint is not to be called any more (then their own jobs drop them).
 */
import type { Clock } from '../../kernel/clock.js'
import type { WebhookId } from '../../kernel/ids.js'
import type { Database, Tx } from '../../platform/database/database.js'
import { done, type JobHandler, type Jobs, type NewJob, snooze } from '../../platform/jobs/jobs.js'
import { circuitPolicy } from './circuit.js'
import {
  type EndpointKey,
  findCircuit,
  findParkedEndpoints,
  type Parking,
  unparkDeliveries,
  unparkProbe,
} from './circuit-store.js'

export interface ReleaseDeps {
  readonly db: Database
  readonly jobs: Pick<Jobs, 'enqueueAll'>
  readonly clock: Clock
}

const STEP = 200

export function createReleaseDeliveries({ db, jobs, clock }: ReleaseDeps): JobHandler {
  return async function releaseDeliveries({ tenantId, id }, signal) {
    const endpoint: EndpointKey = { tenantId, endpointId: id as WebhookId }
    const found = await findCircuit(db, endpoint)
    if (found?.active && found.circuit.state !== 'closed') {
      await db.tx(async (tx) => {
        const probe = await unparkProbe(tx, endpoint)
        if (probe) await resume(tx, [probe])
      })
      return snooze(new Date(clock.now() + circuitPolicy.probeEveryMs))
    }
    while (!signal.aborted) if ((await releaseStep(endpoint)) < STEP) return done()
    return snooze(new Date(clock.now()))
  }

  function releaseStep(endpoint: EndpointKey): Promise<number> {
    return db.tx(async (tx) => {
      const released = await unparkDeliveries(tx, endpoint, STEP)
      await resume(tx, released)
      return released.length
    })
  }

  /** With the tries that they have used up: the schedule goes on where it was. */
  function resume(tx: Tx, parkings: readonly Parking[]): Promise<void> {
    return jobs.enqueueAll(
      tx,
      parkings.map(({ tenantId, deliveryId, tries }) => ({
        kind: 'deliver-webhook',
        tenantId,
        id: deliveryId,
        triesUsed: tries,
      })),
    )
  }
}

/** The job for an endpoint whose circuit has just been opened (due when it may be probed), or closed (due at once). */
export const releaseJob = ({ tenantId, endpointId }: EndpointKey, dueAt?: Date): NewJob => ({
  kind: 'release-deliveries',
  tenantId,
  id: endpointId,
  ...(dueAt ? { dueAt, dedupe: endpointId } : { dedupe: `${endpointId} now` }),
})

/** A tick: where deliveries are put aside there is a job that will release them, whatever went wrong in between. */
export function createReleaseSweep({ db, jobs }: Omit<ReleaseDeps, 'clock'>): () => Promise<void> {
  return async function sweepParked() {
    const endpoints = await findParkedEndpoints(db)
    await db.tx((tx) =>
      jobs.enqueueAll(
        tx,
        endpoints.map(({ tenantId, endpointId }) => ({
          kind: 'release-deliveries',
          tenantId,
          id: endpointId,
          dedupe: endpointId,
        })),
      ),
    )
  }
}
