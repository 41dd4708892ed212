/** Tells the tenant's endpoints of jobs that gave up. */
import {
  type DeliveryId,
  type EventId,
  type IdGenerator,
  idFromColumn,
  publicId,
  type TenantId,
} from '../../kernel/ids.js'
import type { Tx } from '../../platform/database/database.js'
import type { DeadLetter } from '../../platform/jobs/jobs.js'
import type { RecordedEvent } from '../events/event.js'
import { record } from '../events/record.js'
import { delivers } from './delivery-store.js'

/** For the job system's `onDead`: records `job.dead_lettered` in the transaction of the job's death. */
export function createDeadLetterRecorder({
  ids,
}: {
  readonly ids: IdGenerator
}): (tx: Tx, letter: DeadLetter) => Promise<void> {
  return async function recordDeadLetter(tx, { jobId, kind, tenantId, id, attempt, error, diedAt }) {
    const isNewsItself =
      kind === 'deliver-webhook' && (await delivers(tx, tenantId, id as DeliveryId, 'job.dead_lettered'))
    // A dead endpoint would be told of its own death, and of that telling, for ever.
    if (isNewsItself) return
    const data = { kind, subjectId: id, attempts: attempt, error, diedAt: diedAt.toISOString() }
    await record(tx, [
      { id: ids.next('evt'), tenantId, type: 'job.dead_lettered', instanceId: null, subjectId: jobId, data },
    ])
  }
}

/** Describes `job.*` events as `GET /api/dead-letters` shows the job. */
export async function describeJobEvents(
  _tenantId: TenantId,
  events: readonly RecordedEvent[],
): Promise<ReadonlyMap<EventId, unknown>> {
  return new Map(
    events.map(({ id, subjectId, data }) => [
      id,
      { id: subjectId === null ? null : publicId('job', idFromColumn('job', subjectId)), ...data },
    ]),
  )
}
