/** Asks for a pairing code: the side of the web role. */
import { AppError } from '../../kernel/errors.js'
import { waIdFromPhone } from '../../platform/whatsapp/jid.js'
import { parseRecipient } from '../contacts/recipient.js'
import { type DataKeys, openFor } from '../tenants/data-keys.js'
import { type CommandInstanceDeps, commandInstance } from './command-instance.js'
import { pairingCodePlace } from './credentials.js'
import type { InstanceRef } from './instance.js'
import { readQr } from './read-qr.js'

export interface RequestPairingCodeDeps extends CommandInstanceDeps {
  readonly dataKeys: DataKeys
}

export interface PairingCode {
  readonly code: string
  readonly expiresAt: string
}

/** How long a connection that is just beginning may take to be ready for it. */
const READY_WITHIN_MS = 20_000

/**
 * Resolves to the code to type on the phone of this number. Throws `invalid_number`, `already_connected`, `pairing_refused`,
 * and what reading the QR throws.
 */
export async function requestPairingCode(
  deps: RequestPairingCodeDeps,
  owner: InstanceRef,
  phone: string,
): Promise<PairingCode> {
  const waId = waIdFromPhone(parsePhone(phone))
  // WhatsApp takes the request as soon as it has given codes to scan.
  if ((await readQr(deps, owner, READY_WITHIN_MS)) === 'connected') throw new AppError('already_connected')
  const { sealed, expiresAt } = await commandInstance(deps, owner, 'pairing_code', { waId })
  const key = await deps.dataKeys.dataKey(owner.tenantId, owner.instanceId)
  const code = openFor(key, pairingCodePlace(owner), Buffer.from(String(sealed), 'base64')).toString()
  return { code, expiresAt: String(expiresAt) }
}

function parsePhone(text: string): string {
  try {
    const { kind, value } = parseRecipient(text)
    if (kind === 'phone') return value
  } catch (error) {
    if (!(error instanceof AppError)) throw error
  }
  const detail = '`phone` is not a phone number.'
  throw new AppError('invalid_number', { detail, errors: [{ pointer: '/phone', detail }] })
}
