/**
 * The rules of health of one connection. Pure. A connection is judged by what it did, not by what it says of itself: WhatsApp
 * answers our pings, so a live socket shows a frame at least every half minute.
 */
export interface HealthPolicy {
  /** How often each connection is judged. */
  readonly checkEveryMs: number
  /** CONNECTED, but no frame for this long: a zombie. */
  readonly silentAfterMs: number
  /** Logged in, but not open for this long. */
  readonly loadingStuckAfterMs: number
  /** Neither QR nor login for this long after connecting began. */
  readonly initializingStuckAfterMs: number
}

export const defaultHealthPolicy: HealthPolicy = {
  checkEveryMs: 30_000,
  silentAfterMs: 100_000,
  loadingStuckAfterMs: 180_000,
  initializingStuckAfterMs: 60_000,
}

/** How far a connection has come. */
export type Phase = 'connecting' | 'qr' | 'loading' | 'open'

/** All times are monotonic ms. */
export interface Vitals {
  readonly phase: Phase
  readonly phaseSince: number
  /** The last sign of life; before the first one, when connecting began. */
  readonly lastAlive: number
}

export type Ailment = 'ZOMBIE' | 'LOADING_STUCK' | 'INITIALIZING_STUCK'

/** What ails the connection, or null. The QR phase is judged by its own two minutes. */
export function diagnose(
  { phase, phaseSince, lastAlive }: Vitals,
  nowMs: number,
  policy: HealthPolicy,
): Ailment | null {
  switch (phase) {
    case 'open':
      return nowMs - lastAlive > policy.silentAfterMs ? 'ZOMBIE' : null
    case 'loading':
      return nowMs - phaseSince > policy.loadingStuckAfterMs ? 'LOADING_STUCK' : null
    case 'connecting':
      return nowMs - phaseSince > policy.initializingStuckAfterMs ? 'INITIALIZING_STUCK' : null
    case 'qr':
      return null
  }
}
