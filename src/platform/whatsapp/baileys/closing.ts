/** Translates how Baileys says that a connection ended into our reasons. Pure; the reconnect policy decides what follows. */
import { assertNever } from '../../../kernel/assert-never.js'
import type { CloseReason } from '../close-reason.js'

export interface Closing {
  readonly reason: CloseReason
  /** For people and logs: codes and the server's own words, nothing secret. */
  readonly detail: string
}

/** `stream`: the server ended an open stream; `login`: it refused the login; `local`: anything that we noticed ourselves. */
type Origin = 'stream' | 'login' | 'local'

interface BaileysError {
  readonly message?: string
  readonly data?: unknown
  readonly output?: { readonly statusCode?: number }
}

export function readClosing(error: unknown): Closing {
  const { message = 'closed', data, output } = (error ?? {}) as BaileysError
  const code = output?.statusCode ?? 0
  const origin = originOf(message)
  if (message.startsWith('QR refs')) return { reason: 'QR_EXPIRED', detail: 'no QR was scanned in time' }
  if (isUntrusted(message)) return { reason: 'UNAVAILABLE', detail: `the server is not to be trusted: ${message}` }
  return { reason: reasonOf(origin, code, data), detail: detailOf(origin, code, message) }
}

/** The upgrade to a websocket was refused with an HTTP status; Baileys never notices (fault S4). */
export function readRefusedUpgrade(httpStatus: number): Closing {
  const isRefusal = httpStatus === 403 || httpStatus === 405
  return { reason: isRefusal ? 'REFUSED' : 'UNAVAILABLE', detail: `HTTP ${httpStatus} on the upgrade` }
}

function originOf(message: string): Origin {
  if (message.startsWith('Stream Errored')) return 'stream'
  return message === 'Connection Failure' ? 'login' : 'local'
}

/** A certificate or an account that did not sign as it should: somebody in between, or a server that is none. */
function isUntrusted(message: string): boolean {
  return /certificate|certification|account signature/.test(message)
}

function reasonOf(origin: Origin, code: number, data: unknown): CloseReason {
  switch (code) {
    case 401:
      return 'LOGOUT'
    case 402:
      return 'TOS_BLOCK'
    case 403:
      return banOf(data)
    case 405:
    case 409:
    case 413:
    case 414:
    case 418:
    case 419:
    case 429:
    case 463:
      return 'REFUSED'
    case 406:
    case 411:
    case 415:
      return 'BAD_CREDENTIALS'
    case 440:
      return 'REPLACED'
    case 515:
      return 'RESTART_REQUIRED'
    default:
      return code >= 500 ? failureOf(origin) : 'CONNECTION_LOST'
  }
}

/** 5xx of an open stream is trouble on the way; at login it means that WhatsApp takes nobody now. */
function failureOf(origin: Origin): CloseReason {
  switch (origin) {
    case 'login':
      return 'UNAVAILABLE'
    case 'stream':
    case 'local':
      return 'CONNECTION_LOST'
    default:
      return assertNever(origin)
  }
}

/** 403 has several meanings; only what its attributes say in so many words is taken for a ban. */
function banOf(data: unknown): CloseReason {
  const words = JSON.stringify(data ?? '').toLowerCase()
  if (/\bban|banned/.test(words)) return 'BANNED'
  return /tos|violation/.test(words) ? 'TOS_BLOCK' : 'REFUSED'
}

function detailOf(origin: Origin, code: number, message: string): string {
  const said = origin === 'local' ? message : `${origin} ended by the server`
  return code ? `${said} (${code})` : said
}
