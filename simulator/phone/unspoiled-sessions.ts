import { createRequire } from 'node:module'

type Session = { readonly indexInfo: { used: number }; serialize(): unknown }
type Cipher = {
  doDecryptWhisperMessage(data: Uint8Array, session: Session): Promise<Uint8Array>
  decryptWithSessions(
    data: Uint8Array,
    sessions: readonly Session[],
  ): Promise<{ session: Session; plaintext: Uint8Array }>
}

/**
 * A real phone that tries a message on the wrong session leaves that session as it was. libsignal 6.0.0 does not: the
 * try moves its ratchet, and it is stored so, when another session fits. Without this the simulated phones would now and then
 * fail to read what was written rightly, and the judge would blame the client.
 */
export function keepSessionsUnspoiled(): void {
  const require = createRequire(createRequire(import.meta.url).resolve('baileys'))
  const cipher = require('libsignal/src/session_cipher.js').prototype as Cipher
  const { SessionError } = require('libsignal/src/errors.js') as { SessionError: new (text: string) => Error }
  cipher.decryptWithSessions = async function decryptWithSessions(data, sessions) {
    for (const session of sessions) {
      const before = session.serialize()
      try {
        const plaintext = await this.doDecryptWhisperMessage(data, session)
        session.indexInfo.used = Date.now()
        return { session, plaintext }
      } catch {
        putBack(session, before)
      }
    }
    throw new SessionError('No matching sessions found for message')
  }
}

function putBack(session: Session, before: unknown): void {
  const fresh = (session.constructor as unknown as { deserialize(data: unknown): Session }).deserialize(before)
  for (const name of Object.keys(session)) Reflect.deleteProperty(session, name)
  Object.assign(session, fresh)
}
