/** What the OpenAPI document says of the bodies that webhooks bring: each public type of event with an example. */
import type { WebhookOperations } from '../../platform/http/openapi.js'
import { type PublicEventType, publicEventTypes } from '../events/event.js'
import { messageExamples } from '../messages/content-examples.js'

const at = '2026-11-20T12:00:03.120Z'
const instanceId = 'ins_01J8Z3V9K7QW5XN2M4T6R8Y0BC'
const person = { phone: '+5511987654321', lid: '77123456789012' }

const contact = {
  id: 'con_01J8Z3V9K7QW5XN2M4T6R8Y0BE',
  name: 'Ana',
  ...person,
  waId: '5511987654321',
  username: null,
  bsuid: null,
}

const message = {
  id: 'msg_01J8Z3V9K7QW5XN2M4T6R8Y0BF',
  whatsappId: '3EB0C7A1D2E3F405162738',
  instanceId,
  direction: 'outbound',
  chat: {
    id: 'cht_01J8Z3V9K7QW5XN2M4T6R8Y0BG',
    contactId: contact.id,
    ...person,
    username: null,
    bsuid: null,
    waId: contact.waId,
    name: 'Ana',
    groupJid: null,
  },
  sender: null,
  type: 'text',
  text: { body: 'Bom dia!' },
  media: null,
  context: null,
  editedAt: null,
  deletedAt: null,
  status: 'sent',
  statusAt: {
    queued: '2026-11-20T12:00:00.000Z',
    sent: '2026-11-20T12:00:00.412Z',
    delivered: null,
    read: null,
    played: null,
    failed: null,
    received: null,
  },
  holdReason: null,
  error: null,
  origin: 'api',
  metadata: { order: 42 },
  createdAt: '2026-11-20T12:00:00.000Z',
}

const withStatus = (status: string, reached: Readonly<Record<string, string>> = {}) => ({
  ...message,
  status,
  statusAt: { ...message.statusAt, ...reached },
})
const read = { delivered: '2026-11-20T12:00:01.003Z', read: at }

const media = {
  id: 'med_01J8Z3V9K7QW5XN2M4T6R8Y0BH',
  direction: 'inbound',
  instanceId,
  messageId: message.id,
  state: 'stored',
  type: 'image',
  mimeType: 'image/jpeg',
  size: 48_211,
  sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  filename: null,
  width: 1_200,
  height: 900,
  seconds: null,
  error: null,
  createdAt: '2026-11-20T12:00:00.000Z',
  links: { content: '/api/media/med_01J8Z3V9K7QW5XN2M4T6R8Y0BH' },
}

/** `data` of each type. */
export const webhookExamples: Readonly<Record<string, object>> = {
  'message.received': {
    ...withStatus('received', { received: at }),
    direction: 'inbound',
    text: { body: 'Oi, tudo bem?' },
    origin: 'contact',
    metadata: null,
    statusAt: { ...message.statusAt, queued: null, sent: null, received: at },
  },
  'message.sent': message,
  'message.delivered': withStatus('delivered', { delivered: at }),
  'message.read': withStatus('read', read),
  'message.played': withStatus('played', { ...read, played: at }),
  'message.failed': {
    ...withStatus('failed', { failed: at }),
    statusAt: { ...message.statusAt, sent: null, failed: at },
    error: { code: 'not_on_whatsapp', detail: null },
  },
  'message.unknown': {
    ...withStatus('unknown'),
    statusAt: { ...message.statusAt, sent: null },
    error: { code: 'no_ack', detail: null },
  },
  'message.edited': { ...message, text: { body: 'Boa tarde!' }, editedAt: at },
  'message.deleted': { ...message, deletedAt: at },
  'message.cancelled': { ...withStatus('cancelled'), statusAt: { ...message.statusAt, sent: null } },
  'media.ready': media,
  'media.failed': { ...media, state: 'failed', sha256: null, size: null, error: { code: 'media_expired' } },
  'instance.status_changed': {
    instanceId,
    connectionStatus: 'RECONNECTING',
    reason: 'CONNECTION_LOST',
    since: at,
    previousStatus: 'CONNECTED',
  },
  'instance.qr_updated': {
    instanceId,
    method: 'qr',
    expiresAt: '2026-11-20T12:00:20.000Z',
    sessionExpiresAt: '2026-11-20T12:02:00.000Z',
  },
  'instance.restricted': { instanceId, until: '2026-11-22T09:00:00.000Z' },
  'instance.caught_up': { instanceId, announced: 12, received: 12, stored: 12, unreadable: 0, missing: 0 },
  'call.received': {
    instanceId,
    contact,
    callId: '7E4A1C2B3D4F5A6B7C8D9E0F1A2B3C4D',
    video: false,
    groupJid: null,
    at,
    offline: false,
    rejected: true,
  },
  'contact.updated': { ...contact, reason: 'renamed' },
  'group.updated': {
    groupId: '120363041234567890@g.us',
    author: person,
    change: 'subject',
    subject: 'Pedidos de novembro',
  },
  'job.dead_lettered': {
    id: 'job_01J8Z3V9K7QW5XN2M4T6R8Y0BJ',
    kind: 'deliver-webhook',
    subjectId: '0192d1b4-d8f3-7bd2-9c3a-2f1f0d6d7a10',
    attempts: 10,
    error: 'http_500',
    diedAt: at,
  },
  'webhook.tested': { endpointId: 'whe_01J8Z3V9K7QW5XN2M4T6R8Y0BC' },
  'webhook.disabled': {
    endpointId: 'whe_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
    reason: 'failing',
    failingSince: '2026-11-15T11:58:40.000Z',
  },
}

const headers = [
  ['webhook-id', 'The id of the event: the same at every try and replay. Drop what you have had.'],
  ['webhook-timestamp', 'When this try was made, in seconds since 1970.'],
  [
    'webhook-signature',
    '`v1,` and the HMAC-SHA256 of `id.timestamp.body`; two of them, by a space, during a rotation.',
  ],
  ['mirante-sequence', "The event's position among all of yours: grows, but deliveries may come in another order."],
] as const

/** For the OpenAPI document: its `webhooks`. */
export const webhookOperations: WebhookOperations = Object.fromEntries(
  publicEventTypes.map((type) => [type, operationOf(type)]),
)

function operationOf(type: PublicEventType): WebhookOperations[string] {
  const schema = {
    type: 'object' as const,
    required: ['type', 'timestamp', 'data'],
    properties: {
      type: { type: 'string' as const, enum: [type] },
      timestamp: { type: 'string' as const, format: 'date-time' },
      data: { type: 'object' as const },
    },
  }
  return {
    post: {
      tags: ['Webhooks'],
      summary: type,
      description: 'Posted to your endpoint. See docs/webhooks.md for how to verify it and when it is tried again.',
      parameters: headers.map(([name, description]) => ({
        in: 'header' as const,
        name,
        description,
        required: true,
        schema: { type: 'string' as const },
      })),
      requestBody: {
        required: true,
        content: {
          'application/json': { schema, ...examplesOf(type) },
        },
      },
      responses: {
        '2XX': { description: 'Taken. Anything else is tried again.' },
        '410': { description: 'The endpoint is gone: it is disabled.' },
      },
    },
  }
}

/** What people write has as many shapes as there are contents: one example of each. */
function examplesOf(type: PublicEventType) {
  const exampleOf = (data: object) => ({ type, timestamp: at, data })
  if (type !== 'message.received') return { example: exampleOf(webhookExamples[type] ?? {}) }
  const named = messageExamples.map((message, index) => {
    const isFirst = messageExamples.findIndex((other) => other.type === message.type) === index
    return [isFirst ? message.type : `${message.type}, view once`, { value: exampleOf(message) }] as const
  })
  return { examples: Object.fromEntries(named) }
}
