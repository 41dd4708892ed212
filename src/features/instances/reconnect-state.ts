/** What a session remembers of its closes, and what it therefore does next. Obeys the policy and writes what it decided. */
import type { Clock } from '../../kernel/clock.js'
import type { Logger } from '../../kernel/logger.js'
import type { Random } from '../../kernel/random.js'
import type { CloseReason } from '../../platform/whatsapp/close-reason.js'
import { awaitsOwner } from './instance.js'
import {
  cleanHistory,
  type Decision,
  forgetFailures,
  nextReconnect,
  type Reconnect,
  type ReconnectPolicy,
} from './reconnect-policy.js'
import type { SessionRecord } from './session-record.js'

/** A close and what was decided on it. */
export interface Closing {
  readonly reason: CloseReason
  readonly decision: Decision
}

export interface ReconnectState {
  /** Only the owner, or a new holder, goes on from here. */
  readonly parked: boolean
  /** Until the next connection; 0: now. */
  readonly waitMs: number
  decide(reason: CloseReason): Closing
  /** Writes the close and obeys it. `ended`: by WhatsApp itself, so credentials that are worth nothing now are buried. */
  settle(closing: Closing, options: { readonly ended: boolean }): Promise<void>
  /** The owner acted: connect now, and count from the start. */
  restart(): Promise<void>
  /** A connection has proved stable. */
  forget(): Promise<void>
}

export interface ReconnectStateOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly policy: ReconnectPolicy
  readonly record: SessionRecord
  /** How the session before this one ended in doubt; it has not been written. */
  readonly resume: Closing | undefined
}

export function createReconnectState(options: ReconnectStateOptions): ReconnectState {
  const { clock, random, logger, policy, record, resume } = options
  let history = resume?.decision.history ?? cleanHistory
  let parked = awaitsOwner(record.current.state)
  let retryAt = 0

  return {
    get parked() {
      return parked
    },
    get waitMs() {
      return Math.max(0, retryAt - clock.mono())
    },
    decide: (reason) => ({
      reason,
      decision: nextReconnect({ reason, atMs: clock.mono() }, history, policy, random),
    }),
    settle,
    async restart() {
      history = cleanHistory
      parked = false
      retryAt = 0
      await record.write({
        happening: { what: 'restarted', known: record.current.phone !== null },
        patch: { qr: null, reconnectAttempt: 0, reconnectAt: null },
      })
    },
    async forget() {
      history = forgetFailures(history)
      if (record.current.reconnectAttempt > 0) await record.write({ patch: { reconnectAttempt: 0 } })
    },
  }

  async function settle({ reason, decision }: Closing, { ended }: { readonly ended: boolean }): Promise<void> {
    const { next } = decision
    history = decision.history
    parked = 'stop' in next && next.stop !== 'CLOSED'
    retryAt = 'stop' in next ? 0 : clock.mono() + next.retryInMs
    if (parked) logger.error('RECONNECT', 'stopped: the owner has to act', { reason, detail: explain(next) })
    const bury = ended && endsSession(reason)
    await record.write({
      happening: { what: 'closed', reason, next },
      patch: {
        qr: null,
        reconnectAttempt: history.attempt,
        reconnectAt: 'stop' in next ? null : new Date(clock.now() + next.retryInMs),
        lastCloseReason: reason,
        ...(bury ? { phone: null, lid: null, pushName: null, pictureUrl: null } : {}),
      },
      events: reason === 'QR_EXPIRED' ? [{ type: 'qr.expired', data: {} }] : [],
      ...(bury ? { bury: reason } : {}),
    })
  }
}

const worthless: ReadonlySet<CloseReason> = new Set([
  'LOGOUT',
  'PAIRING_INTERRUPTED',
  'TOS_BLOCK',
  'BANNED',
  'BAD_CREDENTIALS',
])
/** WhatsApp ended the session: its credentials are of no more use. */
const endsSession = (reason: CloseReason): boolean => worthless.has(reason)

function explain(next: Reconnect): string {
  if (!('stop' in next)) return ''
  return next.stop === 'REPLACED' ? 'two clients use these credentials' : next.stop
}
