/**
 * Pairing by a code that is typed on the phone, made dependable:
 * - Baileys does not look at WhatsApp's answer to the request, so a refusal would be a code that never works.
 * - Each code typed on the phone, a wrong one too, replaces the secret that the QR on show was made with: the phone that then
 *   scans would be taken for an impostor. Here the secret is chosen by which of the two has really sealed the answer.
 *
 * (That a login of which only the number is known is never stored, key-store.ts sees to.)
 */
import type { AuthenticationCreds, BinaryNode, WASocket } from 'baileys'
import { PairingRefused } from '../whatsapp.js'
import type { BaileysLibrary } from './load.js'

export interface PairingCodes {
  /** Resolves to the code when WhatsApp has taken the request. Rejects with PairingRefused, or when no answer comes. */
  request(waId: string): Promise<string>
  /** A stanza of the server, before Baileys handles it. */
  arrived(stanza: BinaryNode): void
}

export interface PairingCodesOptions {
  readonly baileys: BaileysLibrary
  readonly library: Pick<WASocket, 'requestPairingCode'>
  /** Of the connection; Baileys reads and changes this object. */
  readonly creds: AuthenticationCreds
  readonly answerTimeoutMs: number
}

interface Waiting {
  readonly taken: () => void
  readonly refused: (code: string) => void
  readonly timer: NodeJS.Timeout
}

export function createPairingCodes({ baileys, library, creds, answerTimeoutMs }: PairingCodesOptions): PairingCodes {
  const scanSecret = creds.advSecretKey
  let waiting: Waiting | undefined
  let last: Promise<unknown> = Promise.resolve()

  return {
    request(waId) {
      // One after another: the answer does not say which request it is for.
      const asked = last.then(() => ask(waId))
      last = asked.catch(() => undefined)
      return asked
    },
    arrived(stanza) {
      if (stanza.tag !== 'iq') return
      if (stanza.attrs.type === 'error') return waiting?.refused(codeOf(stanza))
      if (childOf(stanza, 'link_code_companion_reg')) return waiting?.taken()
      const success = childOf(stanza, 'pair-success')
      if (success) chooseSecret(success)
    },
  }

  async function ask(waId: string): Promise<string> {
    const answered = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('WhatsApp did not answer')), answerTimeoutMs)
      waiting = { taken: resolve, refused: (code) => reject(new PairingRefused(code)), timer }
    })
    try {
      const [code] = await Promise.all([library.requestPairingCode(waId), answered])
      return code
    } finally {
      clearTimeout(waiting?.timer)
      waiting = undefined
    }
  }

  function chooseSecret(success: BinaryNode): void {
    const sealed = childOf(success, 'device-identity')?.content
    if (!(sealed instanceof Uint8Array)) return
    const { details, hmac, accountType } = baileys.proto.ADVSignedDeviceIdentityHMAC.decode(sealed)
    if (!details || !hmac) return
    const isHosted = accountType === baileys.proto.ADVEncryptionType.HOSTED
    const text = Buffer.concat([isHosted ? baileys.WA_ADV_HOSTED_ACCOUNT_SIG_PREFIX : Buffer.alloc(0), details])
    const fits = (secret: string): boolean =>
      Buffer.from(hmac).equals(baileys.hmacSign(text, Buffer.from(secret, 'base64')))
    // Neither fits: Baileys refuses it.
    if (!fits(creds.advSecretKey) && fits(scanSecret)) creds.advSecretKey = scanSecret
  }
}

function childOf({ content }: BinaryNode, tag: string): BinaryNode | undefined {
  return Array.isArray(content) ? content.find((child) => child.tag === tag) : undefined
}

const codeOf = (stanza: BinaryNode): string => childOf(stanza, 'error')?.attrs.code ?? 'unknown'
