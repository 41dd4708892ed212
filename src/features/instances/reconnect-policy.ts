/** Decides what a session does after its connection closed. Pure: the session only obeys. */
import { assertNever } from '../../kernel/assert-never.js'
import type { Random } from '../../kernel/random.js'
import type { CloseReason } from '../../platform/whatsapp/close-reason.js'

export interface ReconnectPolicy {
  /** `min(baseMs · 1.5^attempt, maxMs) + random(0, jitterMs)`: the formula of seed 001. */
  readonly baseMs: number
  readonly maxMs: number
  readonly jitterMs: number
  /** Attempts in vain after which the instance is given up until its owner, or a new holder, begins again. */
  readonly maxAttempts: number
  /** Where the formula begins and ends for 403, 405, 463 and the like. */
  readonly refusedBaseMs: number
  readonly refusedMaxMs: number
  readonly replacedBaseMs: number
  /** At most this many reconnects in the window after being replaced; the next one stops. */
  readonly replacedLimit: number
  readonly replacedWindowMs: number
  /** Restarts that the server asks for one after another without delay; more follow the formula. */
  readonly restartsAtOnce: number
}

export const defaultReconnectPolicy: ReconnectPolicy = {
  baseMs: 2_000,
  maxMs: 300_000,
  jitterMs: 2_000,
  maxAttempts: 20,
  refusedBaseMs: 300_000,
  refusedMaxMs: 3_600_000,
  replacedBaseMs: 30_000,
  replacedLimit: 3,
  replacedWindowMs: 300_000,
  restartsAtOnce: 3,
}

/** What is remembered of earlier closes. */
export interface CloseHistory {
  /** Reconnects in a row that did not lead to a stable connection. */
  readonly attempt: number
  readonly restartsInARow: number
  /** Monotonic ms of the replacements in the window. */
  readonly replacedAt: readonly number[]
}

/** Nothing behind us: a new session, or the owner's enable or restart. */
export const cleanHistory: CloseHistory = { attempt: 0, restartsInARow: 0, replacedAt: [] }

/** After a stable connection. Replacements stay counted by their own window: two clients may take turns for minutes. */
export const forgetFailures = ({ replacedAt }: CloseHistory): CloseHistory => ({ ...cleanHistory, replacedAt })

export interface Closed {
  readonly reason: CloseReason
  /** Monotonic ms. */
  readonly atMs: number
}

export type StopReason =
  | Extract<
      CloseReason,
      'LOGOUT' | 'TOS_BLOCK' | 'BANNED' | 'BAD_CREDENTIALS' | 'QR_EXPIRED' | 'REPLACED' | 'LEASE_LOST' | 'CLOSED'
    >
  | 'ATTEMPTS_EXHAUSTED'

export type Reconnect = { readonly retryInMs: number } | { readonly stop: StopReason }

export interface Decision {
  readonly next: Reconnect
  readonly history: CloseHistory
}

/** `reason` REPLACED means that the lease was looked up and is ours; else the caller says LEASE_LOST. */
export function nextReconnect(
  { reason, atMs }: Closed,
  history: CloseHistory,
  policy: ReconnectPolicy,
  random: Random,
): Decision {
  switch (reason) {
    case 'LOGOUT':
    case 'TOS_BLOCK':
    case 'BANNED':
    case 'BAD_CREDENTIALS':
      // WhatsApp has spoken; trying again only makes a ban likelier.
      return { next: { stop: reason }, history }
    case 'QR_EXPIRED':
    case 'LEASE_LOST':
    case 'CLOSED':
      return { next: { stop: reason }, history }
    case 'RESTART_REQUIRED':
      return afterRestart(history, policy, random)
    case 'REPLACED':
      return afterReplaced(atMs, history, policy, random)
    case 'REFUSED':
      return retry(history, policy, delayMs(history.attempt, policy.refusedBaseMs, policy.refusedMaxMs, policy, random))
    case 'PAIRING_INTERRUPTED':
    case 'CONNECTION_LOST':
    case 'UNAVAILABLE':
    case 'NOT_DURABLE':
      return retry(history, policy, delayMs(history.attempt, policy.baseMs, policy.maxMs, policy, random))
    default:
      return assertNever(reason)
  }
}

function afterRestart(history: CloseHistory, policy: ReconnectPolicy, random: Random): Decision {
  const restartsInARow = history.restartsInARow + 1
  if (restartsInARow <= policy.restartsAtOnce)
    return { next: { retryInMs: 0 }, history: { ...history, restartsInARow } }
  // A server that only ever says "restart" must not make us spin.
  const { next, history: after } = retry(
    history,
    policy,
    delayMs(history.attempt, policy.baseMs, policy.maxMs, policy, random),
  )
  return { next, history: { ...after, restartsInARow } }
}

function afterReplaced(atMs: number, history: CloseHistory, policy: ReconnectPolicy, random: Random): Decision {
  const recent = history.replacedAt.filter((then) => atMs - then < policy.replacedWindowMs)
  const counted = { ...history, replacedAt: [...recent, atMs] }
  // Two clients that kick each other out look like abuse, and each kick loses what was in flight.
  if (recent.length >= policy.replacedLimit) return { next: { stop: 'REPLACED' }, history: counted }
  const retryInMs = delayMs(recent.length, policy.replacedBaseMs, policy.maxMs, policy, random)
  return retry(counted, policy, retryInMs)
}

function retry(history: CloseHistory, policy: ReconnectPolicy, retryInMs: number): Decision {
  if (history.attempt >= policy.maxAttempts) return { next: { stop: 'ATTEMPTS_EXHAUSTED' }, history }
  return { next: { retryInMs }, history: { ...history, attempt: history.attempt + 1, restartsInARow: 0 } }
}

function delayMs(
  exponent: number,
  baseMs: number,
  maxMs: number,
  { jitterMs }: ReconnectPolicy,
  random: Random,
): number {
  return Math.min(baseMs * 1.5 ** exponent, maxMs) + Math.floor(random() * jitterMs)
}
