/**
 * Every variable that Mirante reads, documented here and nowhere else: docs/configuration.md and the flags of the commands
 * are made from this. Names are part of the product: add, do not rename.
 */
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'

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

const path = z.string().transform((value) => (isAbsolute(value) ? value : resolve(value)))

const encryptionKey = z.string().transform((value, context): Buffer => {
  const key = /^[0-9a-f]{64}$/i.test(value) ? Buffer.from(value, 'hex') : Buffer.from(value, 'base64')
  if (key.length === KEY_BYTES) return key
  context.addIssue({ code: 'custom', message: 'must be 32 bytes as 64 hex digits or as base64' })
  return z.NEVER
})

/** `file:` is the directory in the data directory, `file:///srv/media` another one. */
const storageUrl = z.string().transform((value, context): string | undefined => {
  if (/^file:(\/\/)?$/.test(value)) return undefined
  if (/^file:\/\/\/./.test(value) && URL.canParse(value)) return decodeURIComponent(new URL(value).pathname)
  context.addIssue({ code: 'custom', message: 'must be `file:`, or file:/// and the path of a directory' })
  return z.NEVER
})

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
  databaseUrl: {
    name: 'DATABASE_URL',
    schema: url(['postgres:', 'postgresql:']),
    whenAbsent: 'Mirante runs its own PostgreSQL in the data directory',
    unit: 'URL',
    about:
      'The PostgreSQL server (15 or newer) that holds everything; its user may create roles or be a member of ours.',
    example: 'postgres://mirante:secret@db.example:5432/mirante',
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
  mediaDirectory: {
    name: 'STORAGE_URL',
    schema: storageUrl,
    default: () => 'file:',
    unit: 'URL',
    about:
      'Where the files of messages lie: `file:` is `media` in the data directory, `file:///path` another directory; several replicas need one that they share.',
    example: 'file:///srv/mirante-media',
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
