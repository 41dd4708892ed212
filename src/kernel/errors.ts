/**
 * Every error that a caller of Mirante can meet. The catalogue is closed: a code has one HTTP status, one human title and
 * one next action, and a page in the docs. Codes are part of the API: add, do not rename.
 */
interface CatalogueEntry {
  readonly status: number
  readonly title: string
  /** What the caller should do now. */
  readonly action: string
  /** Whether the same call may succeed later without a change. */
  readonly retry: boolean
}

const entry = (status: number, title: string, action: string, retry = false): CatalogueEntry => ({
  status,
  title,
  action,
  retry,
})

export const errorCatalogue = {
  invalid_request: entry(400, 'The request does not fit the schema.', 'Correct the fields named in `errors`.'),
  invalid_json: entry(400, 'The body is not valid JSON.', 'Send a JSON object with Content-Type: application/json.'),
  body_too_large: entry(413, 'The body is too large.', 'Send at most the size named in `detail`.'),
  unsupported_media_type: entry(415, 'This content type is not accepted.', 'Send application/json.'),
  unauthenticated: entry(401, 'No valid API key was sent.', 'Send `Authorization: Bearer <key>`.'),
  forbidden_scope: entry(403, 'This key lacks a scope.', 'Use a key that has the scope named in `detail`.'),
  not_found: entry(404, 'There is nothing here.', 'Check the id; a thing of another tenant is not shown.'),
  route_not_found: entry(404, 'No such route.', 'See /docs for the routes.'),
  method_not_allowed: entry(405, 'This route does not take this method.', 'See /docs for the routes.'),
  conflict: entry(409, 'The thing is in another state.', 'Read it again and decide.'),
  name_taken: entry(409, 'An instance with this name exists.', 'Choose another name.'),
  instance_disabled: entry(409, 'The instance is disabled.', 'Enable it: POST /api/instances/:id/enable.'),
  instance_not_connected: entry(
    409,
    'The instance is not connected.',
    'Look at its status; scan the QR if asked.',
    true,
  ),
  already_connected: entry(409, 'The instance is already connected.', 'Log out first to pair another phone.'),
  invalid_number: entry(
    400,
    'This names no person.',
    'Send a number in E.164 such as +5511987654321, a jid, a LID, @username or a business-scoped id.',
  ),
  unknown_recipient: entry(
    422,
    'No phone number and no LID is known for this username or business-scoped id.',
    'Send to the phone number, or wait until the person writes.',
  ),
  not_on_whatsapp: entry(422, 'This number is not on WhatsApp.', 'Check the number with the person.'),
  message_on_its_way: entry(
    409,
    'This message is on its way.',
    'Wait for its end, see GET /api/messages/:id/trace, and decide then.',
    true,
  ),
  message_already_sent: entry(409, 'WhatsApp has this message already.', 'To take it back, delete it for everyone.'),
  message_ended: entry(409, 'This message has ended.', 'Look at its status; send a new message if it is still wanted.'),
  message_not_sent_by_you: entry(
    409,
    'This message came in.',
    'Only messages to others can be sent again or cancelled.',
  ),
  cursor_gone: entry(
    410,
    'What follows this cursor is not kept any more.',
    'Go on from `oldestCursor`; what you may have missed is in GET /api/messages.',
  ),
  idempotency_key_invalid: entry(400, 'The Idempotency-Key is not usable.', 'Send 1 to 255 visible characters.'),
  idempotency_key_reused: entry(422, 'This Idempotency-Key was used for another request.', 'Use a new key.'),
  idempotency_in_progress: entry(409, 'A request with this Idempotency-Key is still running.', 'Retry shortly.', true),
  qr_expired: entry(410, 'The QR session has expired.', 'Start a new one: POST /api/instances/:id/restart.'),
  session_ended: entry(
    409,
    'WhatsApp has ended the session of this instance.',
    'Start a new one: POST /api/instances/:id/restart, then scan the QR.',
  ),
  qr_unavailable: entry(504, 'No QR came from WhatsApp in time.', 'Retry; if it stays so, look at the status.', true),
  pairing_refused: entry(
    409,
    'WhatsApp gives no pairing code for this number.',
    'Check the number and wait some minutes before the next try, or scan the QR.',
    true,
  ),
  not_supported: entry(409, 'The provider of this instance cannot do this.', 'See the docs of the provider.'),
  whatsapp_unanswered: entry(504, 'WhatsApp did not answer the question.', 'Retry shortly.', true),
  command_timeout: entry(504, 'The holder of the instance did not answer in time.', 'Retry.', true),
  endpoint_url_refused: entry(400, 'This URL may not be called.', 'Use a public https URL, or see EGRESS_ALLOW.'),
  group_refused: entry(409, 'WhatsApp refuses this for the group.', 'Be a member, and an admin where it takes one.'),
  edit_window_over: entry(409, 'The message is too old to be edited.', 'Send a new message; the window is 15 minutes.'),
  delete_window_over: entry(
    409,
    'The message is too old to be deleted for everyone.',
    'Nothing can be done; the window is 60 hours.',
  ),
  message_not_eligible: entry(409, 'This cannot be done with that message.', 'See `detail`.'),
  media_too_large: entry(413, 'The file is larger than may be sent.', 'Send a smaller one; the limit is in `detail`.'),
  media_type_refused: entry(
    415,
    'The file is not what it was said to be, or not what is sent as this type.',
    'Send another format, or send it as a document.',
  ),
  media_empty: entry(400, 'The file is empty.', 'Send one with something in it.'),
  upload_truncated: entry(400, 'The upload broke off.', 'Send it again, whole.', true),
  media_pending: entry(409, 'The file has not arrived yet.', 'Wait for `media.ready`, or ask again.', true),
  media_unavailable: entry(410, 'The file is not there.', 'Ask for its info, which says why; or send it again.'),
  media_url_unsupported: entry(409, 'The media storage here gives no links.', 'Download the file: GET /api/media/:id.'),
  media_in_use: entry(409, 'A message that is still to be sent needs this file.', 'Cancel the message, or wait.', true),
  range_not_satisfiable: entry(416, 'The file has no such bytes.', 'Ask for a range within `Content-Range`.'),
  storage_unavailable: entry(503, 'The media storage does not answer, or is full.', 'Retry; tell the operator.', true),
  rate_limited: entry(429, 'Too many requests.', 'Wait for the seconds in Retry-After.', true),
  instance_backlog_full: entry(
    429,
    'Too many messages of this instance wait to be sent.',
    'Wait for the seconds in Retry-After; the number sends as fast as it may.',
    true,
  ),
  overloaded: entry(503, 'Mirante is overloaded.', 'Retry after the seconds in Retry-After.', true),
  database_unavailable: entry(503, 'The database does not answer.', 'Retry; Mirante heals by itself.', true),
  shutting_down: entry(503, 'This replica is shutting down.', 'Retry; another one answers.', true),
  lease_lost: entry(503, 'Another replica has taken the instance over.', 'Retry.', true),
  schema_newer: entry(503, 'The database belongs to a newer Mirante.', 'Start that version, or restore a backup.'),
  database_moved: entry(
    503,
    'This database has been moved, or is being moved.',
    'Start Mirante on the one that `detail` names.',
  ),
  connection_pooler: entry(
    503,
    'DATABASE_URL leads to a pooler such as PgBouncer.',
    'Let it lead to PostgreSQL itself: Mirante pools its own connections.',
  ),
  migration_changed: entry(
    500,
    'A migration that was already applied has changed.',
    'Restore the file and put the change into a new migration; in development, drop the database.',
  ),
  postgres_directory_in_use: entry(
    503,
    'Another process runs on this data directory.',
    'Stop that process, or choose another directory.',
  ),
  postgres_directory_refused: entry(
    500,
    'The data directory holds something that Mirante did not put there.',
    'Choose an empty directory.',
  ),
  postgres_start_failed: entry(503, 'The embedded PostgreSQL did not start.', 'Read the log named in `detail`.', true),
  request_timeout: entry(408, 'The request did not arrive in time.', 'Send it again, without pauses.', true),
  headers_too_large: entry(431, 'The headers are too large.', 'Send fewer or shorter headers.'),
  encryption_key_mismatch: entry(
    500,
    'The encryption key does not fit what is stored.',
    'Start Mirante with the ENCRYPTION_KEY it was first started with.',
  ),
  internal: entry(500, 'Something broke on our side.', 'Retry; quote the traceId when you report it.', true),
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof errorCatalogue

export interface FieldError {
  /** JSON pointer (RFC 6901) to the field. */
  readonly pointer: string
  readonly detail: string
}

export interface AppErrorOptions {
  readonly detail?: string
  readonly errors?: readonly FieldError[]
  readonly retryAfterSeconds?: number
  /** Members of the problem document that this code alone has. */
  readonly extension?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

export class AppError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly retry: boolean
  readonly detail: string | undefined
  readonly errors: readonly FieldError[]
  readonly retryAfterSeconds: number | undefined
  readonly extension: Readonly<Record<string, string>>

  constructor(code: ErrorCode, options: AppErrorOptions = {}) {
    super(options.detail ?? errorCatalogue[code].title, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.status = errorCatalogue[code].status
    this.retry = errorCatalogue[code].retry
    this.detail = options.detail
    this.errors = options.errors ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
    this.extension = options.extension ?? {}
  }
}
