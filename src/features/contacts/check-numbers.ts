/**
 * Which numbers are on WhatsApp: from what WhatsApp said before, else by asking it, at a pace that does not get the instance
 * banned. Inputs that are spellings of one number are asked for once each, for WhatsApp's answer is about a spelling.
 */
import { AppError } from '../../kernel/errors.js'
import { type ContactId, type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { waIdFromPhone } from '../../platform/whatsapp/jid.js'
import type { NumberCheck } from '../../platform/whatsapp/whatsapp.js'
import type { AddressBook } from './address-book.js'
import { type CheckPace, findNumberChecks, type NumberCheckRow, takeCheckRoom } from './number-check-store.js'
import { parseRecipient } from './recipient.js'

interface Owner {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
}

/** How WhatsApp is asked: `instances` stand to the right, so compose hands it in. */
export interface AskWhatsApp {
  assertAskable(owner: Owner): Promise<void>
  ask(owner: Owner, waIds: readonly string[]): Promise<readonly NumberCheck[]>
}

export interface CheckNumbersDeps {
  readonly db: Database
  readonly addressBook: Pick<AddressBook, 'learnCheck'>
  readonly whatsapp: AskWhatsApp
  readonly pace?: CheckPace
}

/** Numbers of one request at most. */
export const MAX_NUMBERS = 100
/** A hundred at once after a rest, then twenty a minute: asking about many unknown numbers is what gets a number banned. */
export const checkPace: CheckPace = { burst: MAX_NUMBERS, everyMs: 3_000 }
const DAY_MS = 86_400_000
/** As long as the sender believes it. */
const believedMs = { exists: 30 * DAY_MS, missing: DAY_MS }

export interface CheckedNumber {
  readonly input: string
  readonly exists: boolean
  readonly phone: string
  readonly waId: string | null
  readonly lid: string | null
  readonly contactId: string | null
  readonly checkedAt: Date
}

export type CheckNumbers = (owner: Owner, inputs: readonly string[]) => Promise<CheckedNumber[]>

/** Throws `invalid_number` naming the field, `rate_limited` (then nothing was asked), and what asking WhatsApp throws. */
export function createCheckNumbers({ db, addressBook, whatsapp, pace = checkPace }: CheckNumbersDeps): CheckNumbers {
  return async function checkNumbers(owner, inputs) {
    const phones = inputs.map(phoneOf)
    await whatsapp.assertAskable(owner)
    const known = await look(owner, phones)
    const missing = [...new Set(phones)].filter((phone) => !known.has(phone))
    if (missing.length > 0) await ask(owner, missing)
    const all = missing.length > 0 ? await look(owner, phones) : known
    return inputs.map((input, index) => view(input, all.get(phones[index] ?? '')))
  }

  async function look({ tenantId }: Owner, phones: readonly string[]): Promise<ReadonlyMap<string, NumberCheckRow>> {
    const rows = await db.tenantTx(tenantId, (tx) => findNumberChecks(tx, tenantId, phones, believedMs))
    return new Map(rows.map((row) => [row.phone, row]))
  }

  async function ask(owner: Owner, phones: readonly string[]): Promise<void> {
    const waitMs = await db.tenantTx(owner.tenantId, (tx) => takeCheckRoom(tx, owner, phones.length, pace))
    if (waitMs > 0) throw tooFast(waitMs)
    const checks = await whatsapp.ask(owner, phones.map(waIdFromPhone))
    for (const [index, phone] of phones.entries()) {
      const check = checks[index]
      if (check) await addressBook.learnCheck(owner.tenantId, phone, check)
    }
  }
}

function phoneOf(input: string, index: number): string {
  const { kind, value } = parseRecipient(input, `/numbers/${index}`)
  if (kind === 'phone') return value
  const detail = 'Only phone numbers can be checked.'
  throw new AppError('invalid_number', { detail, errors: [{ pointer: `/numbers/${index}`, detail }] })
}

function view(input: string, row: NumberCheckRow | undefined): CheckedNumber {
  // A merge that waits for messages on their way leaves a check undone; the next request asks again.
  if (!row) throw new AppError('conflict', { detail: 'A contact is being merged. Ask again shortly.' })
  const { exists, phone, waId, lid, contactId, checkedAt } = row
  return { input, exists, phone, waId, lid, contactId: contactId && publicId('con', contactId as ContactId), checkedAt }
}

const tooFast = (waitMs: number): AppError =>
  new AppError('rate_limited', {
    detail: 'This instance has asked about many numbers: the bucket is number checks of the instance.',
    retryAfterSeconds: Math.ceil(waitMs / 1_000),
  })
