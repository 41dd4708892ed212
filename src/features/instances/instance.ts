/**
 * What an instance is and how its state moves. Pure. `enabled` is what the owner wants; the connection status is what is
 * true now, with the reason for it and the time since when.
 *
 *   INITIALIZING ──qr──▶ QR_REQUIRED ──scanned──▶ LOADING ──open──▶ CONNECTED
 *        │                    │ 2 minutes without a scan: stays QR_REQUIRED, reason QR_EXPIRED, until the owner restarts it
 *        │                    (linked, but we died before WhatsApp heard of it: INITIALIZING again, with a new QR)
 *        │ a known number: RECONNECTING ──login──▶ LOADING
 *   any ──connection closed──▶ RECONNECTING ──20 attempts in vain, or replaced too often──▶ DISCONNECTED
 *   any ──WhatsApp ended the session──▶ AUTH_FAILURE, until the owner acts
 *   any ──disabled──▶ DISCONNECTED ──enabled──▶ INITIALIZING or RECONNECTING
 */
import { assertNever } from '../../kernel/assert-never.js'
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { CloseReason } from '../../platform/whatsapp/close-reason.js'
import type { Reconnect } from './reconnect-policy.js'

export const connectionStatuses = [
  'CONNECTED',
  'DISCONNECTED',
  'RECONNECTING',
  'QR_REQUIRED',
  'AUTH_FAILURE',
  'INITIALIZING',
  'LOADING',
] as const
export type ConnectionStatus = (typeof connectionStatuses)[number]

/** Why the status is what it is: how the last connection ended, or what was asked for. */
export type StatusReason =
  | CloseReason
  | 'ATTEMPTS_EXHAUSTED'
  /** The owner disabled, or deleted, the instance. */
  | 'DISABLED'
  | 'DELETED'
  /** The owner asked for a fresh start. */
  | 'RESTART'
  /** A replica has just taken the number over: after a start of Mirante, a deploy, or the end of another replica. */
  | 'STARTING'
  /** CONNECTED was not confirmed by any frame for minutes: no replica may be running it. */
  | 'UNCONFIRMED'

export interface InstanceState {
  readonly status: ConnectionStatus
  readonly reason: StatusReason | null
  readonly since: Date
}

/** Who an instance is, for those who run it. */
export interface InstanceRef {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
}

export type Happening =
  | { readonly what: 'enabled'; readonly known: boolean }
  | { readonly what: 'disabled' }
  | { readonly what: 'deleted' }
  | { readonly what: 'restarted'; readonly known: boolean }
  /** A holder begins; `known`: the number was connected before, so no QR is expected. */
  | { readonly what: 'taken'; readonly known: boolean }
  | { readonly what: 'qr' }
  | { readonly what: 'paired' }
  | { readonly what: 'loading' }
  | { readonly what: 'open' }
  | { readonly what: 'closed'; readonly reason: CloseReason; readonly next: Reconnect }

/** The state after a happening; the same object when nothing changes, so that nothing is written or told. */
export function advance(state: InstanceState, happening: Happening, at: Date): InstanceState {
  const { status, reason } = follow(state, happening)
  return status === state.status && reason === state.reason ? state : { status, reason, since: at }
}

/**
 * Whether a new holder should leave the instance alone: WhatsApp has spoken, or nobody scanned the QR; only the owner can
 * go on. What merely gave up (attempts, replaced) is tried again by a new holder, as seed 001 asks of a start.
 */
export function awaitsOwner({ status, reason }: Pick<InstanceState, 'status' | 'reason'>): boolean {
  return status === 'AUTH_FAILURE' || (status === 'QR_REQUIRED' && reason === 'QR_EXPIRED')
}

type Outcome = Pick<InstanceState, 'status' | 'reason'>

function follow(state: InstanceState, happening: Happening): Outcome {
  switch (happening.what) {
    case 'enabled':
      return beginning(happening.known, null)
    case 'disabled':
      return { status: 'DISCONNECTED', reason: 'DISABLED' }
    case 'deleted':
      return { status: 'DISCONNECTED', reason: 'DELETED' }
    case 'restarted':
      return beginning(happening.known, 'RESTART')
    case 'taken':
      return awaitsOwner(state) ? state : beginning(happening.known, 'STARTING')
    case 'qr':
      return { status: 'QR_REQUIRED', reason: null }
    case 'paired':
    case 'loading':
      return { status: 'LOADING', reason: null }
    case 'open':
      return { status: 'CONNECTED', reason: null }
    case 'closed':
      return afterClose(state, happening.reason, happening.next)
    default:
      return assertNever(happening)
  }
}

const beginning = (known: boolean, reason: StatusReason | null): Outcome => ({
  status: known ? 'RECONNECTING' : 'INITIALIZING',
  reason,
})

function afterClose(state: InstanceState, reason: CloseReason, next: Reconnect): Outcome {
  if ('stop' in next) return afterStop(state, next.stop)
  // The restart that follows a scan is part of the pairing, not an interruption.
  if (reason === 'RESTART_REQUIRED' && state.status === 'LOADING') return state
  // Before a first QR was shown there is nothing to reconnect to.
  if (state.status === 'INITIALIZING' || reason === 'PAIRING_INTERRUPTED') return { status: 'INITIALIZING', reason }
  return { status: 'RECONNECTING', reason }
}

function afterStop(state: InstanceState, stop: Extract<Reconnect, { stop: unknown }>['stop']): Outcome {
  switch (stop) {
    case 'LOGOUT':
    case 'TOS_BLOCK':
    case 'BANNED':
    case 'BAD_CREDENTIALS':
      return { status: 'AUTH_FAILURE', reason: stop }
    case 'QR_EXPIRED':
      return { status: 'QR_REQUIRED', reason: stop }
    case 'ATTEMPTS_EXHAUSTED':
    case 'REPLACED':
      return { status: 'DISCONNECTED', reason: stop }
    case 'CLOSED':
      // Drained: the next holder, here or elsewhere, goes on.
      return state.status === 'CONNECTED' || state.status === 'LOADING'
        ? { status: 'RECONNECTING', reason: stop }
        : state
    case 'LEASE_LOST':
      // The new holder's word counts now.
      return state
    default:
      return assertNever(stop)
  }
}
