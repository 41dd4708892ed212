/**
 * Loads Baileys when it is first needed, made safe before anything runs on it:
 * - Signatures are really verified (fault S1: libsignal returns false, Baileys expects an exception; libsignal's session
 *   builder does not look at all). Without that, a false server certificate, a false pairing and a false prekey bundle
 *   would all be accepted.
 * - libsignal's console lines, which hold private keys, are swallowed (fault S3).
 * - All of its sockets share one AsyncLocalStorage (see shared-async-storage.ts).
 * - A message that is tried on the wrong session does not spoil it (see unspoiled-sessions.ts).
 *
 * All of it is idempotent, and the module system keeps the one instance.
 */
import { createRequire } from 'node:module'
import type { UserFacingSocketConfig } from 'baileys'
import { quietLibsignal } from './quiet-libsignal.js'
import { shareAsyncStorage } from './shared-async-storage.js'
import { keepSessionsUnspoiled } from './unspoiled-sessions.js'
import { verifySignature } from './xeddsa.js'

export type BaileysLibrary = typeof import('baileys')
export type ILogger = NonNullable<UserFacingSocketConfig['logger']>

interface LibsignalCurve {
  verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array, isInit?: boolean): boolean
}

/** Its proof takes as much time as the rest of a login, so it is made once. */
let isProven = false

/** Rejects when the library is not the one we know how to make safe: better no connection than an unverified one. */
export async function loadBaileys(): Promise<BaileysLibrary> {
  quietLibsignal()
  mendLibsignal()
  shareAsyncStorage()
  const baileys = await import('baileys')
  // Another module of this process may have loaded Baileys before us and with it a copy of the lax function.
  baileys.Curve.verify = (publicKey, message, signature) => verifySignature(publicKey, message, signature)
  if (!isProven) assertVerifies(baileys)
  isProven = true
  return baileys
}

/** libsignal is looked up from Baileys' place, so that it is the very copy that Baileys uses. */
function mendLibsignal(): void {
  const requireHere = createRequire(import.meta.url)
  const requireAsBaileys = createRequire(requireHere.resolve('baileys'))
  const curve = requireAsBaileys('libsignal/src/curve.js') as LibsignalCurve
  // `isInit` asks the original to skip the check for prekey bundles of new sessions; we never skip.
  curve.verifySignature = (publicKey, message, signature) => {
    if (!verifySignature(publicKey, message, signature)) throw new Error('invalid signature')
    return true
  }
  keepSessionsUnspoiled({
    SessionCipher: requireAsBaileys('libsignal/src/session_cipher.js'),
    SessionError: requireAsBaileys('libsignal/src/errors.js').SessionError,
  })
}

function assertVerifies({ Curve }: BaileysLibrary): void {
  const { private: privateKey, public: publicKey } = Curve.generateKeyPair()
  const message = Buffer.from('who signed this?')
  const signature = Curve.sign(privateKey, message)
  const accepts = Curve.verify(publicKey, message, signature)
  const refuses = !Curve.verify(publicKey, Buffer.from('somebody else'), signature)
  if (!accepts || !refuses) throw new Error('Baileys does not verify signatures; refusing to connect with it')
}
