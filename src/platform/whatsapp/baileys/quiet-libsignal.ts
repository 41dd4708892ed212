/**
 * libsignal writes whole session objects, private ratchet keys included, to the console (fault S3). Only its own lines are
 * swallowed, by their first words; whoever else writes to the console is heard.
 */
const LIBSIGNAL_LINES = [
  'Closing session:',
  'Opening session:',
  'Session already closed',
  'Session already open',
  'Removing old closed session:',
  'Migrating session to:',
  'V1 session storage migration error',
  'Closing open session in favor of incoming prekey bundle',
  'Decrypted message with closed session.',
  'Failed to decrypt message with any known session',
  'Session error:',
  'Unhandled bucket type (for naming):',
  'WARNING: Expected pubkey of length 33',
] as const

/** Marks a method that filters already, so that calling twice wraps once. */
const filtering = Symbol.for('mirante.quiet-libsignal')

/** Makes this console deaf to libsignal. Idempotent. */
export function quietLibsignal(target: Pick<Console, 'info' | 'warn' | 'error'> = console): void {
  for (const method of ['info', 'warn', 'error'] as const) {
    const original = target[method]
    if (filtering in original) continue
    const filtered = (...words: unknown[]): void => {
      if (!isLibsignalLine(words[0])) original.apply(target, words)
    }
    target[method] = Object.assign(filtered, { [filtering]: true })
  }
}

function isLibsignalLine(first: unknown): boolean {
  return typeof first === 'string' && LIBSIGNAL_LINES.some((line) => first.startsWith(line))
}
