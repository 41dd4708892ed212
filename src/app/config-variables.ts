/**
 * Every variable that Mirante reads, documented here and nowhere else: docs/configuration.md and the flags of the commands
 * are made from this. Names are part of the product: add, do not rename.
 */
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'
import { errorText } from '../kernel/logger.js'
import { databaseHosts, problemOfDatabaseUrl } from '../platform/database/database-url.js'
import { parseStorageUrl, type StoragePlace } from '../platform/media/storage-url.js'
import { parseRedisUrl } from '../platform/redis/redis-url.js'

export interface Variable<Value = unknown> {
  readonly name: string
  /** From the text of the environment to the value; its message completes "NAME …". */
  readonly schema: z.ZodType<Value, string>
  /** The text taken when the variable is absent; undefined: then the value is undefined. */
  readonly default?: () => string
  /** What the manual says about its absence, where that is not simply `default`. */
  readonly whenAbsent?: string
  readonly unit: string
  /** One sentence. */
  readonly about: string
  readonly example: string
  /** Its value is never shown, it has no flag, and it may come from the file named in `<name>_FILE`. */
  readonly secret?: true
}

const DATA_DIRECTORY = './data'
const KEY_BYTES = 32

const text = z.string()

function integer(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`
  return z
    .string()
    .regex(/^\d{1,15}$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message)
}

function url(protocols: readonly string[]) {
  return z.string().refine(
    (value) => {
      if (!URL.canParse(value)) return false
      return protocols.includes(new URL(value).protocol)
    },
    `must be a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  )
}

const databaseUrl = z.string().superRefine((value, context) => {
  const message = problemOfDatabaseUrl(value)
  if (message) context.addIssue({ code: 'custom', message })
})

const oneDatabaseUrl = databaseUrl.refine(
  (value) => problemOfDatabaseUrl(value) !== undefined || databaseHosts(value).length === 1,
  'must name one host',
)

const path = z.string().transform((value) => (isAbsolute(value) ? value : resolve(value)))

const encryptionKey = z.string().transform((value, context): Buffer => {
  const key = /^[0-9a-f]{64}$/i.test(value) ? Buffer.from(value, 'hex') : Buffer.from(value, 'base64')
  if (key.length === KEY_BYTES) return key
  context.addIssue({ code: 'custom', message: 'must be 32 bytes as 64 hex digits or as base64' })
  return z.NEVER
})

const storageUrl = z.string().transform((value, context): StoragePlace => {
  const found = parseStorageUrl(value)
  if ('kind' in found) return found
  context.addIssue({ code: 'custom', message: found.problem })
  return z.NEVER
})

const redisUrl = z.string().superRefine((value, context) => {
  try {
    parseRedisUrl(value)
  } catch (error) {
    context.addIssue({ code: 'custom', message: errorText(error) })
  }
})

const amqpUrl = url(['amqp:', 'amqps:'])

const queueUrl = z
  .string()
  .refine((value) => /^(amqps?|rediss?(\+(sentinel|cluster))?):\/\//.test(value), 'must begin with amqp:// or redis://')
  .pipe(z.string().superRefine(checkQueueUrl))

function checkQueueUrl(value: string, context: z.RefinementCtx): void {
  const { error } = (value.startsWith('amqp') ? amqpUrl : redisUrl).safeParse(value)
  if (error) context.addIssue({ code: 'custom', message: error.issues[0]?.message ?? 'is not usable' })
}

const cidrList = z.string().transform((value, context): readonly string[] => {
  const ranges = value.split(',').map((range) => range.trim())
  const wrong = ranges.filter((range) => !isCidr(range))
  if (wrong.length === 0) return Object.freeze(ranges)
  context.addIssue({
    code: 'custom',
    message: `must be a comma-separated list of CIDR ranges; not one: ${wrong.join()}`,
  })
  return z.NEVER
})

function isCidr(range: string): boolean {
  const [address = '', bits = '', ...rest] = range.split('/')
  const family = isIP(address)
  return family > 0 && rest.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}

export const variables = {
  host: {
    name: 'HOST',
    schema: text,
    default: () => '0.0.0.0',
    unit: 'address',
    about: 'The address on which the HTTP API listens; 127.0.0.1 keeps it on this machine.',
    example: '127.0.0.1',
  },
  port: {
    name: 'PORT',
    schema: integer(0, 65_535),
    default: () => '3000',
    unit: 'TCP port',
    about: 'The port on which the HTTP API listens; 0 takes a free one.',
    example: '3000',
  },
  drainWaitMs: {
    name: 'DRAIN_WAIT_MS',
    schema: integer(0, 60_000),
    default: () => '0',
    unit: 'milliseconds',
    about:
      'How long a replica that was told to stop goes on answering, with 503 at /readyz, so that a balancer sends its requests elsewhere; 0 without a balancer.',
    example: '5000',
  },
  databaseUrl: {
    name: 'DATABASE_URL',
    schema: databaseUrl,
    whenAbsent: 'Mirante runs its own PostgreSQL in the data directory',
    unit: 'URL',
    about:
      'The PostgreSQL server (15 or newer) that holds everything; its user may create roles or be a member of ours. Several hosts (`one:5432,two:5432`) are a primary and its standbys: Mirante follows the primary.',
    example: 'postgres://mirante:secret@db.example:5432/mirante',
    secret: true,
  },
  databaseReplicaUrl: {
    name: 'DATABASE_REPLICA_URL',
    schema: oneDatabaseUrl,
    whenAbsent: 'everything is read from the primary',
    unit: 'URL',
    about:
      'A standby of the server in DATABASE_URL that answers lists and searches while it keeps up; where it does not, the primary answers.',
    example: 'postgres://mirante:secret@standby.example:5432/mirante',
    secret: true,
  },
  databaseReplicaMaxLagMs: {
    name: 'DATABASE_REPLICA_MAX_LAG_MS',
    schema: integer(0, 3_600_000),
    default: () => '2000',
    unit: 'milliseconds',
    about:
      'How old an answer from DATABASE_REPLICA_URL may be; a tenant sees at once what it has changed through the same process.',
    example: '500',
  },
  redisUrl: {
    name: 'REDIS_URL',
    schema: redisUrl,
    whenAbsent: 'PostgreSQL and the memory of each process do what Redis would',
    unit: 'URL',
    about:
      'A Redis that replicas share, for lease hints, limits and caches; nothing is lost without it. Sentinels and clusters: redis+sentinel://h1,h2,h3/<master>, redis+cluster://h1,h2 (docs/redis.md).',
    example: 'redis://:secret@cache.example:6379/0',
    secret: true,
  },
  dataDirectory: {
    name: 'SESSION_STORAGE_PATH',
    schema: path,
    default: () => DATA_DIRECTORY,
    unit: 'directory',
    about: 'The one data directory: the embedded PostgreSQL, the generated encryption key and the media live in it.',
    example: '/var/lib/mirante',
  },
  storage: {
    name: 'STORAGE_URL',
    schema: storageUrl,
    default: () => 'file:',
    unit: 'URL',
    about:
      'Where the files of messages lie: `file:` is `media` in the data directory, `file:///path` another directory, `s3://bucket/prefix?region=…&endpoint=…` a bucket (docs/storage.md); several replicas need one that they share.',
    example: 's3://media/mirante?region=sa-east-1',
  },
  s3AccessKeyId: {
    name: 'S3_ACCESS_KEY_ID',
    schema: z.string().regex(/^\S{1,200}$/, 'must be text without spaces'),
    whenAbsent: 'none; STORAGE_URL=s3://… needs one',
    unit: 'text',
    about: 'Who reads and writes the bucket of STORAGE_URL.',
    example: 'mirante',
    secret: true,
  },
  s3SecretAccessKey: {
    name: 'S3_SECRET_ACCESS_KEY',
    schema: text,
    whenAbsent: 'none; STORAGE_URL=s3://… needs one',
    unit: 'text',
    about: 'The secret that belongs to S3_ACCESS_KEY_ID.',
    example: '"$(cat s3-secret)"',
    secret: true,
  },
  mediaMaxMb: {
    name: 'MEDIA_MAX_MB',
    schema: integer(1, 2_048),
    default: () => '100',
    unit: 'megabytes',
    about:
      'The largest file that is taken, either way; WhatsApp takes documents of up to 2048, and less of other types.',
    example: '512',
  },
  rateLimitPerMinute: {
    name: 'RATE_LIMIT_PER_MINUTE',
    schema: integer(0, 10_000_000),
    default: () => '0',
    unit: 'requests per minute',
    about:
      'How often one tenant may ask the API, with all its keys together; more is answered 429. 0: no limit. Without REDIS_URL each replica allows its equal part.',
    example: '6000',
  },
  maxBacklog: {
    name: 'MAX_WAITING_PER_INSTANCE',
    schema: integer(1, 100_000_000),
    default: () => '10000',
    unit: 'messages',
    about:
      'So many accepted messages of one instance may wait to be sent, about; beyond it a send is answered with 429 and Retry-After.',
    example: '100000',
  },
  logLevel: {
    name: 'LOG_LEVEL',
    schema: z
      .string()
      .toLowerCase()
      .pipe(z.enum(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error')),
    default: () => 'info',
    unit: 'level',
    about: 'The least level that is logged: debug, info, warn or error.',
    example: 'debug',
  },
  logFormat: {
    name: 'LOG_FORMAT',
    schema: z.enum(['line', 'json'], 'must be line or json'),
    default: () => 'line',
    unit: 'format',
    about: 'How log lines look: `line` (`[time] [LEVEL] [CATEGORY] [instance] message`) or `json`.',
    example: 'json',
  },
  encryptionKey: {
    name: 'ENCRYPTION_KEY',
    schema: encryptionKey,
    whenAbsent: 'a key is generated once into `encryption-key` in the data directory, readable by its owner only',
    unit: '32 bytes, hex or base64',
    about:
      'Wraps the keys that encrypt WhatsApp logins and webhook secrets: back it up, and give every replica the same one.',
    example: '"$(openssl rand -base64 32)"',
    secret: true,
  },
  bootstrapApiKey: {
    name: 'BOOTSTRAP_API_KEY',
    schema: z.string().min(32, 'must have 32 characters or more').max(255, 'must have 255 characters or fewer'),
    whenAbsent: 'a key is generated when the database has none, and printed once',
    unit: 'text of 32 to 255 characters',
    about: 'The first admin API key.',
    example: '"$(openssl rand -hex 32)"',
    secret: true,
  },
  queueUrl: {
    name: 'QUEUE_URL',
    schema: queueUrl,
    whenAbsent: 'PostgreSQL NOTIFY carries them',
    unit: 'URL',
    about:
      'What carries wake-ups between processes: RabbitMQ (amqp://, amqps://) or BullMQ in a Redis (as in REDIS_URL); the work itself is in PostgreSQL either way, see docs/brokers.md.',
    example: 'amqp://mirante:secret@rabbit.example:5672/mirante',
    secret: true,
  },
  eventsAmqpUrl: {
    name: 'EVENTS_AMQP_URL',
    schema: amqpUrl,
    whenAbsent: 'events go to webhooks and streams only',
    unit: 'URL',
    about:
      'A RabbitMQ to which all events are published as well, in an exchange for each tenant, for who consumes them there: see docs/brokers.md.',
    example: 'amqp://mirante:secret@rabbit.example:5672/events',
    secret: true,
  },
  replicaName: {
    name: 'REPLICA_NAME',
    schema: z.string().regex(/^[\w.-]{1,100}$/, 'must have 1 to 100 letters, digits, dots, dashes or underscores'),
    default: () => hostname(),
    whenAbsent: 'the host name',
    unit: 'name',
    about: 'The name of this replica in logs, in the cluster view and beside the numbers that it holds.',
    example: 'replica-1',
  },
  gateways: {
    name: 'GATEWAYS',
    schema: integer(1, 64),
    default: () => '1',
    unit: 'processes',
    about: 'How many gateway processes share the numbers of this replica; one per core is the useful most.',
    example: '2',
  },
  gatewayCapacity: {
    name: 'GATEWAY_CAPACITY',
    schema: integer(1, 100_000),
    default: () => '200',
    unit: 'numbers',
    about:
      'How many numbers each gateway process holds at most; gateways with room share all numbers evenly, whatever it is.',
    example: '500',
  },
  leaseTtlMs: {
    name: 'LEASE_TTL_MS',
    schema: integer(1_000, 600_000),
    default: () => '45000',
    unit: 'milliseconds',
    about: 'After this long without a sign of life, a frozen replica loses its numbers to another one.',
    example: '45000',
  },
  rehydrateStaggerMs: {
    name: 'REHYDRATE_STAGGER_MS',
    schema: integer(0, 60_000),
    default: () => '0',
    unit: 'milliseconds',
    about: 'The pause between two numbers that are connected again after a start.',
    example: '2000',
  },
  egressAllow: {
    name: 'EGRESS_ALLOW',
    schema: cidrList,
    whenAbsent: 'public addresses only',
    unit: 'CIDR ranges, comma-separated',
    about: 'Addresses that webhooks and links of media may reach besides public ones.',
    example: '10.0.0.0/8,127.0.0.1/32',
  },
  whatsappWebUrl: {
    name: 'WHATSAPP_WEB_URL',
    schema: url(['ws:', 'wss:']),
    whenAbsent: 'WhatsApp itself',
    unit: 'URL',
    about: 'For a simulator only: the WebSocket to use in place of WhatsApp.',
    example: 'ws://127.0.0.1:3999/ws/chat',
  },
  whatsappRootKey: {
    name: 'WHATSAPP_ROOT_KEY',
    schema: z.string().regex(/^[0-9a-f]{64}$/i, 'must be 64 hex digits'),
    whenAbsent: "WhatsApp's own",
    unit: '32 bytes, hex',
    about: 'For a simulator only: the public key that its certificates lead to.',
    example: '021eed1e9a95e94ad4bb2c5f81beeb1fee98246d622e5329e384fb1dac4ba54b',
  },
  whatsappCaFile: {
    name: 'WHATSAPP_CA_FILE',
    schema: path,
    whenAbsent: "the system's authorities",
    unit: 'file',
    about: 'For a simulator only: the certificate authority (PEM) of its wss address.',
    example: '/etc/mirante/simulator-ca.pem',
  },
} as const satisfies Record<string, Variable>

/** What the commands that talk to a running Mirante read. */
export const clientVariables = {
  url: {
    name: 'MIRANTE_URL',
    schema: url(['http:', 'https:']),
    default: () => 'http://127.0.0.1:3000',
    unit: 'URL',
    about: 'Where the running Mirante answers, for the commands that talk to one.',
    example: 'https://mirante.example',
  },
  apiKey: {
    name: 'MIRANTE_API_KEY',
    schema: text,
    whenAbsent: 'none; the commands need `--key` then',
    unit: 'API key',
    about: 'The API key that the commands use which talk to a running Mirante.',
    example: 'mir_…',
    secret: true,
  },
} as const satisfies Record<string, Variable>
