/**
 * Places where a test may let the process die. Around one message:
 * - outbound: `after-ratchet` (its keys are durable, its bytes about to leave), `after-write` (they have been handed to the
 *   socket), `after-ack` (the server has it, nobody knows yet), `at-retry` (the recipient asks for it again);
 * - inbound: `before-inbound-store` (decrypted, in memory only), `after-inbound-store` (durable, the receipt about to leave),
 *   `after-receipt` (WhatsApp will not send it again).
 */
export type CrashPointName =
  | 'after-ratchet'
  | 'after-write'
  | 'after-ack'
  | 'at-retry'
  | 'before-inbound-store'
  | 'after-inbound-store'
  | 'after-receipt'

export type CrashPoint = (name: CrashPointName) => void

/** Names the moments around the writing of a frame by what the frame is. */
export function crashAround(crashPoint: CrashPoint): (label: string, moment: 'before' | 'after') => void {
  const names: Record<string, CrashPointName> = {
    'message before': 'after-ratchet',
    'message after': 'after-write',
    'receipt before': 'after-inbound-store',
    'receipt after': 'after-receipt',
  }
  return (label, moment) => {
    const name = names[`${label} ${moment}`]
    if (name) crashPoint(name)
  }
}
