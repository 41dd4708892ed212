/**
 * Mends a fault of libsignal 6.0.0 that is behind many a "Bad MAC": a message whose session is not known is tried on every
 * session of its sender. A try moves the ratchet *before* it finds that the MAC does not fit, and when a later session fits,
 * the whole record is stored, with the wrong ones moved. What is then sent on one of those cannot be read by the other side.
 * Here a session on which a try failed is put back as it was.
 */

interface Session {
  readonly indexInfo: { used: number }
  serialize(): unknown
}

interface SessionClass {
  deserialize(data: unknown): Session
}

interface SessionCipher {
  doDecryptWhisperMessage(data: Uint8Array, session: Session): Promise<Uint8Array>
  decryptWithSessions(
    data: Uint8Array,
    sessions: readonly Session[],
  ): Promise<{ session: Session; plaintext: Uint8Array }>
}

/** What this needs of the library's CommonJS modules. */
export interface LibsignalCipherModules {
  readonly SessionCipher: { readonly prototype: SessionCipher }
  readonly SessionError: new (message: string) => Error
}

export function keepSessionsUnspoiled({ SessionCipher, SessionError }: LibsignalCipherModules): void {
  SessionCipher.prototype.decryptWithSessions = async function decryptWithSessions(data, sessions) {
    if (sessions.length === 0) throw new SessionError('No sessions available')
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

/** The record holds this very object, so it is filled anew instead of being replaced. */
function putBack(session: Session, before: unknown): void {
  const fresh = (session.constructor as unknown as SessionClass).deserialize(before)
  for (const name of Object.keys(session)) Reflect.deleteProperty(session, name)
  Object.assign(session, fresh)
}
