/** Pairing by a code that is typed on the phone, in place of scanning the QR: the holder's side of it. */
import { AppError } from '../../kernel/errors.js'
import type { Logger } from '../../kernel/logger.js'
import { PairingRefused } from '../../platform/whatsapp/whatsapp.js'
import type { ConnectionWatch } from './connection-watch.js'
import type { CommandArgs, CommandResult } from './errand.js'
import type { SessionContext } from './session-attachment.js'
import type { SessionRecord } from './session-record.js'

export interface PairByCodeOptions {
  readonly context: SessionContext
  readonly watch: ConnectionWatch
  readonly record: SessionRecord
  readonly logger: Logger
  readonly sealPairingCode: (code: string) => Buffer
}

/** `{waId}` → `{sealed, expiresAt}`. The QR stays on show, and either of them pairs. */
export async function pairByCode(options: PairByCodeOptions, { waId }: CommandArgs): Promise<CommandResult> {
  const { context, watch, record, sealPairingCode } = options
  const { connection } = context
  if (watch.phase === 'open' || watch.phase === 'loading') throw new AppError('already_connected')
  if (watch.phase !== 'qr' || typeof waId !== 'string') throw new AppError('qr_unavailable')
  if (!connection.pairingCode) throw new AppError('not_supported')
  const code = await ask(options, () => connection.pairingCode?.(waId))
  const expiresAt = watch.qrSessionExpiresAt.toISOString()
  // The code itself is a secret, as a QR is; the event only says that there is one.
  const data = { method: 'code', expiresAt, sessionExpiresAt: expiresAt }
  await record.write({ events: [{ type: 'instance.qr_updated', data }] })
  return { sealed: sealPairingCode(code).toString('base64'), expiresAt }
}

async function ask({ logger }: PairByCodeOptions, request: () => Promise<string> | undefined): Promise<string> {
  try {
    const code = await request()
    if (code) return code
  } catch (error) {
    if (error instanceof PairingRefused) {
      logger.warn('SESSION', 'WhatsApp refuses a pairing code', { reason: error.code })
      throw new AppError('pairing_refused', { detail: `WhatsApp refuses with ${error.code}.`, cause: error })
    }
  }
  throw new AppError('qr_unavailable', { detail: 'WhatsApp did not give a code.' })
}
