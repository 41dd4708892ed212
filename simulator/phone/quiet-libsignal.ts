const NOISE = [
  'Closing session:',
  'Opening session:',
  'Removing old closed session:',
  'Session already closed',
  'Session already open',
  'Decrypted message with closed session.',
  'Failed to decrypt message with any known session...',
  'Session error:',
  'Closing open session in favor of incoming prekey bundle',
  'Closing stale open session for new outgoing prekey bundle',
]
const QUIET = Symbol.for('simulator.quiet-libsignal')

/**
 * libsignal prints whole session objects, private keys included, to the console. Lines that begin with its known texts
 * are dropped; every other use of the console passes unchanged. Safe to call more than once.
 */
export function quietLibsignal(): void {
  for (const method of ['log', 'info', 'warn', 'error'] as const) {
    const original = console[method]
    if (QUIET in original) continue
    const filtered = (...args: unknown[]) => {
      if (!isNoise(args[0])) original.apply(console, args)
    }
    console[method] = Object.assign(filtered, { [QUIET]: true })
  }
}

function isNoise(first: unknown): boolean {
  return typeof first === 'string' && NOISE.some((text) => first.startsWith(text))
}
