/** Why a connection ended, in our words: the provider translates, the reconnect policy decides. */
export const closeReasons = [
  /** The server asked for a new connection (515), as it does after pairing. */
  'RESTART_REQUIRED',
  /** Network trouble, silence, a broken frame, our own watchdog, 5xx of the stream. */
  'CONNECTION_LOST',
  /** WhatsApp's servers refuse for now (503, 500 at login). */
  'UNAVAILABLE',
  /** Another connection uses the same credentials (440). */
  'REPLACED',
  /** 403, 405, 463 and the like: trying soon again would look like abuse. */
  'REFUSED',
  /** The refs of a QR session ran out, or our own two minutes did. */
  'QR_EXPIRED',
  /** The phone removed this device, or we logged out (401). */
  'LOGOUT',
  /**
   * A log-out of a number that was never open: we died between keeping its login and telling WhatsApp of it, so WhatsApp does
   * not know the device. The session says it, not the provider.
   */
  'PAIRING_INTERRUPTED',
  'TOS_BLOCK',
  'BANNED',
  /** Credentials that cannot be read or that WhatsApp does not accept (other than a log-out). */
  'BAD_CREDENTIALS',
  /** Our journal could not make what was sent durable: the bytes held back were dropped. */
  'NOT_DURABLE',
  /** The lease is another replica's now. */
  'LEASE_LOST',
  /** We closed it: disable, restart, shutdown. */
  'CLOSED',
] as const
export type CloseReason = (typeof closeReasons)[number]
