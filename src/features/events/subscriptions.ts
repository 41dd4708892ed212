/**
 * Which jobs an event wakes: news goes right through a row, and this is the map of it. `record.ts` reads it when it builds
 * its statement, so what stands here is what happens.
 */
import type { JobKind } from '../../platform/jobs/jobs.js'
import { type EventType, publicEventTypes } from './event.js'

/** Internal events wake nothing. A fan-out is enqueued only where an endpoint wants the event at that moment. */
const wakes: Readonly<Partial<Record<EventType, readonly JobKind[]>>> = {
  ...Object.fromEntries(publicEventTypes.map((type) => [type, ['fan-out']])),
  // Made for one endpoint: the route that records it enqueues that one delivery itself.
  'webhook.tested': [],
}

/** The kinds of job that an event of this type wakes. */
export const jobsWokenBy = (type: EventType): readonly JobKind[] => wakes[type] ?? []

/** The types of event that wake jobs of this kind. */
export const typesWaking = (kind: JobKind): readonly EventType[] =>
  publicEventTypes.filter((type) => jobsWokenBy(type).includes(kind))
