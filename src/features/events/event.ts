/** The closed list of domain events: `noun.past`, the same string in table, webhook, log and metric. */
import type { EventId, InstanceId, TenantId } from '../../kernel/ids.js'

/** Events that webhook endpoints and the live stream may ask for. */
export const publicEventTypes = [
  'message.received',
  'message.sent',
  'message.delivered',
  'message.read',
  'message.played',
  'message.failed',
  'message.unknown',
  /** Its author changed it, or took it back for everyone: `data` is the message as it is now. */
  'message.edited',
  'message.deleted',
  'message.cancelled',
  /** The file of a message that came in is here, or will not come: `data` is the file's view. */
  'media.ready',
  'media.failed',
  'instance.status_changed',
  'instance.qr_updated',
  /** WhatsApp takes no messages to strangers, until a time. */
  'instance.restricted',
  /** After a reconnect: what waited at WhatsApp, and what of it is stored. */
  'instance.caught_up',
  'call.received',
  'contact.updated',
  /** Somebody joined or left, was made an admin, or the group was renamed. */
  'group.updated',
  'job.dead_lettered',
  /** Made by POST /api/webhooks/:id/test for one endpoint. */
  'webhook.tested',
  /** An endpoint said that it is gone, or failed for days: the tenant's other endpoints are told. */
  'webhook.disabled',
] as const
export type PublicEventType = (typeof publicEventTypes)[number]

/** Events for the trace and the log only. */
export const internalEventTypes = [
  'message.queued',
  'stanza.unknown',
  'lease.taken',
  'lease.lost',
  /** An operator wants another replica to hold it. */
  'lease.move_ordered',
  'qr.expired',
] as const
export type EventType = PublicEventType | (typeof internalEventTypes)[number]

/**
 * An event to record. `data` holds what was true at that instant (a status, its time, a reason); what never changes of the
 * subject (a message's content, say) is joined when the event is shown.
 */
export interface NewEvent {
  readonly id: EventId
  readonly tenantId: TenantId
  readonly type: EventType
  readonly instanceId: InstanceId | null
  /** UUID of the message, contact, endpoint or job that it speaks of. */
  readonly subjectId: string | null
  readonly data: Readonly<Record<string, unknown>>
}

export interface RecordedEvent extends NewEvent {
  /** Position in the tenant's sequence: no gaps, commit order. */
  readonly seq: bigint
  readonly createdAt: Date
}

export const isPublic = (type: EventType): type is PublicEventType =>
  (publicEventTypes as readonly string[]).includes(type)
