/** Watches over one connection while it lasts: how far it has come, whether it lives, and the two minutes of a QR session. */
import type { Clock } from '../../kernel/clock.js'
import type { Logger } from '../../kernel/logger.js'
import type { CloseReason } from '../../platform/whatsapp/close-reason.js'
import type { ConnectionEvent } from '../../platform/whatsapp/whatsapp.js'
import { diagnose, type HealthPolicy, type Phase } from './health.js'

export interface WatchTimes {
  readonly health: HealthPolicy
  /** How long a QR is shown, code after code, before the session waits for its owner. */
  readonly qrSessionMs: number
  /** A connection that has been open for this long is stable: earlier failures are forgotten. */
  readonly stableAfterMs: number
}

export interface ConnectionWatchOptions extends WatchTimes {
  readonly clock: Clock
  readonly logger: Logger
  /** Aborted when the connection has ended. */
  readonly over: AbortSignal
  readonly end: (reason: CloseReason) => void
  readonly onStable: () => void
}

export interface ConnectionWatch {
  readonly phase: Phase
  /** The end of the QR session, which begins with its first code. */
  readonly qrSessionExpiresAt: Date
  /** Something came in. Told on arrival, since taking the event may have to wait for the database. */
  saw(type: ConnectionEvent['type']): void
}

export function createConnectionWatch(options: ConnectionWatchOptions): ConnectionWatch {
  const { clock, logger, over, end, health, qrSessionMs, stableAfterMs } = options
  let phase: Phase = 'connecting'
  let phaseSince = clock.mono()
  let lastAlive = clock.mono()
  let qrSessionExpiresAt: Date | undefined
  void watchHealth()

  return {
    get phase() {
      return phase
    },
    get qrSessionExpiresAt() {
      return qrSessionExpiresAt ?? new Date(clock.now() + qrSessionMs)
    },
    saw(type) {
      lastAlive = clock.mono()
      if (type === 'qr') beginQrSession()
      if (type === 'paired' || type === 'loading') enter('loading')
      if (type === 'open') enter('open')
    },
  }

  function beginQrSession(): void {
    enter('qr')
    if (qrSessionExpiresAt) return
    qrSessionExpiresAt = new Date(clock.now() + qrSessionMs)
    void endQrSession()
  }

  function enter(next: Phase): void {
    if (next === phase) return
    phase = next
    phaseSince = clock.mono()
    if (next === 'open') void watchStability()
  }

  async function watchHealth(): Promise<void> {
    while (await elapsed(health.checkEveryMs)) {
      const ailment = diagnose({ phase, phaseSince, lastAlive }, clock.mono(), health)
      if (!ailment) continue
      logger.warn('HEALTH', 'the connection does not live', { ailment })
      return end('CONNECTION_LOST')
    }
  }

  /** Two clocks run over a QR: the provider's per code, and this one over all codes of the session. */
  async function endQrSession(): Promise<void> {
    if ((await elapsed(qrSessionMs)) && phase === 'qr') end('QR_EXPIRED')
  }

  async function watchStability(): Promise<void> {
    if (await elapsed(stableAfterMs)) options.onStable()
  }

  /** True after `ms`, false when the connection ended before. */
  function elapsed(ms: number): Promise<boolean> {
    return clock.sleep(ms, over).then(
      () => !over.aborted,
      () => false,
    )
  }
}
