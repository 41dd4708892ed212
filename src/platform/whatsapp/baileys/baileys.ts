/**
 * WhatsApp's multi-device protocol through the real Baileys library, made durable both ways. The parts:
 * load (safe library) · key-store + signal-repository (memory is the truth, one journal entry for each step) · gate (nothing
 * leaves before it is durable) · inbox, stanza, acks, send (what is told and answered) · connection (a life) · closing.
 */
import { readFileSync } from 'node:fs'
import type { Agent } from 'node:https'
import type { UserFacingSocketConfig } from 'baileys'
import type { Clock } from '../../../kernel/clock.js'
import type { Random } from '../../../kernel/random.js'
import { refusingGroups } from '../group.js'
import { type Connection, type ConnectOptions, type Provider, SendError } from '../whatsapp.js'
import { openConnection } from './connection.js'
import type { CrashPoint } from './crash-point.js'
import { readPlaintext } from './inbound.js'
import { UnreadableCredentials } from './key-store.js'
import { type BaileysLibrary, loadBaileys } from './load.js'
import { createMediaAgent } from './media-agent.js'
import { decodeRaw } from './raw-entry.js'

export interface BaileysOptions {
  readonly clock: Clock
  readonly random: Random
  /** Another server than WhatsApp's: a simulator. */
  readonly webSocketUrl?: string
  /** The root that signs that server's certificates; 64 hex digits. One for the whole process. */
  readonly rootPublicKeyHex?: string
  /** PEM of a certificate authority to trust besides the well-known ones, for `wss:` to a simulator. */
  readonly caFile?: string
  /** Silence longer than this and 5 s ends a connection. @default 30,000 */
  readonly keepAliveMs?: number
  /** Connecting ends when nothing happens for so long. @default 30,000 */
  readonly connectWatchdogMs?: number
  /** WhatsApp has so long to confirm a log-out; less than whoever asks for it waits. @default 8,000 */
  readonly logoutMs?: number
  /** What cannot be decrypted is reported after so long, unless it heals. @default 20,000 */
  readonly healMs?: number
  readonly hooks?: { readonly crashPoint?: CrashPoint }
}

const DEFAULT_KEEP_ALIVE_MS = 30_000
const DEFAULT_CONNECT_WATCHDOG_MS = 30_000
const DEFAULT_LOGOUT_MS = 8_000
const DEFAULT_HEAL_MS = 20_000
const WHATSAPP_ID_PREFIX = '3EB0'
const WHATSAPP_ID_DIGITS = 18
const HEX_DIGITS = '0123456789ABCDEF'

export function createBaileysProvider(options: BaileysOptions): Provider {
  const { clock, random, hooks } = options
  const times = {
    connectWatchdogMs: options.connectWatchdogMs ?? DEFAULT_CONNECT_WATCHDOG_MS,
    logoutMs: options.logoutMs ?? DEFAULT_LOGOUT_MS,
    healMs: options.healMs ?? DEFAULT_HEAL_MS,
  }
  let agent: Agent | undefined
  return {
    name: 'baileys',
    async warmUp() {
      await load(options)
    },
    async connect(connectOptions) {
      const baileys = await load(options)
      agent ??= agentOf(options)
      const settings = {
        clock,
        ...times,
        crashPoint: hooks?.crashPoint,
        mediaAgent: agent,
        socket: socketOf(options, agent),
      }
      try {
        return openConnection(baileys, connectOptions, settings)
      } catch (error) {
        if (error instanceof UnreadableCredentials) return stillborn(connectOptions, error)
        throw error
      }
    },
    newWhatsappId() {
      let id = WHATSAPP_ID_PREFIX
      for (let digit = 0; digit < WHATSAPP_ID_DIGITS; digit++) id += HEX_DIGITS.charAt(Math.floor(random() * 16))
      return id
    },
    async readRaw(payload) {
      const { envelope, plaintext } = decodeRaw(payload)
      return readPlaintext(await load(options), envelope, plaintext)
    },
  }
}

async function load({ rootPublicKeyHex }: BaileysOptions): Promise<BaileysLibrary> {
  const baileys = await loadBaileys()
  if (rootPublicKeyHex) baileys.WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(rootPublicKeyHex, 'hex')
  return baileys
}

const agentOf = ({ caFile }: BaileysOptions): Agent | undefined =>
  caFile ? createMediaAgent(readFileSync(caFile, 'utf8')) : undefined

function socketOf(
  { webSocketUrl, keepAliveMs }: BaileysOptions,
  agent: Agent | undefined,
): Partial<UserFacingSocketConfig> {
  return {
    ...(webSocketUrl ? { waWebSocketUrl: webSocketUrl } : {}),
    // An agent for TLS refuses a websocket without: then only the files go over https.
    ...(agent && !webSocketUrl?.startsWith('ws:') ? { agent } : {}),
    keepAliveIntervalMs: keepAliveMs ?? DEFAULT_KEEP_ALIVE_MS,
  }
}

/** A connection that ends before it begins. Its `close` comes after the caller has it in hands. */
function stillborn({ onEvent }: ConnectOptions, cause: Error): Connection {
  const refuse = async (): Promise<never> => {
    throw cause
  }
  setImmediate(() => onEvent({ type: 'close', reason: 'BAD_CREDENTIALS', detail: cause.message }))
  return {
    send: async () => {
      throw new SendError('not_connected', { sent: 'no' })
    },
    checkNumber: refuse,
    checkNumbers: refuse,
    markRead: refuse,
    showActivity: refuse,
    showPresence: refuse,
    groups: refusingGroups(refuse),
    logout: async () => {},
    close: async () => {},
    terminate: () => {},
  }
}
