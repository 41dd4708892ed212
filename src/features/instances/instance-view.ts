/** The JSON of an instance. */
import { z } from 'zod'
import { publicId } from '../../kernel/ids.js'
import { waIdFromPhone } from '../../platform/whatsapp/jid.js'
import { connectionStatuses } from './instance.js'
import type { InstanceOwner, InstanceRow, QrRow } from './instance-store.js'

const time = z.iso.datetime()
const status = {
  id: z.string().meta({ examples: ['ins_01J8Z3V9K7QW5XN2M4T6R8Y0BC'] }),
  enabled: z.boolean().meta({ description: 'Whether you want it to run.' }),
  connectionStatus: z.enum(connectionStatuses).meta({ description: 'What is true now.' }),
  reason: z
    .string()
    .nullable()
    .meta({ description: 'Why the status is what it is.', examples: ['CONNECTION_LOST'] }),
  since: time.meta({ description: 'Since when it has this status for this reason.' }),
}

export const instanceStatusView = z.object(status).meta({ id: 'InstanceStatus' })

const instance = {
  ...status,
  name: z.string(),
  provider: z.string(),
  phone: z.string().nullable().meta({ description: 'The linked number in E.164.' }),
  waId: z.string().nullable().meta({ description: 'The number as WhatsApp knows it, without +.' }),
  lid: z.string().nullable(),
  pushName: z.string().nullable().meta({ description: 'The name that the account shows.' }),
  profilePictureUrl: z
    .string()
    .nullable()
    .meta({ description: 'Of the account, as WhatsApp hands it out: it expires.' }),
  restrictedUntil: time
    .nullable()
    .meta({ description: 'Until then WhatsApp takes no messages to people who never wrote to it: they are held.' }),
  rejectCalls: z.boolean().meta({ description: 'Whether calls to it are rejected; either way they are told of.' }),
  reconnect: z.object({
    attempt: z.int(),
    max: z.int(),
    nextAt: time.nullable(),
    lastReason: z.string().nullable(),
  }),
  lastSeenAt: time.nullable().meta({ description: 'The last sign of life on its connection, to the half minute.' }),
  createdAt: time,
  updatedAt: time,
}

export const instanceView = z.object(instance).meta({ id: 'Instance' })

export const instanceDetailsView = z
  .object({
    ...instance,
    owner: z
      .object({
        replica: z.string().nullable(),
        role: z.string().nullable(),
        slot: z.int().nullable(),
        epoch: z.int(),
        acquiredAt: time,
      })
      .nullable()
      .meta({ description: 'The process that runs it; null when none does.' }),
  })
  .meta({ id: 'InstanceDetails' })

export const qrView = z
  .object({
    connectionStatus: z.enum(connectionStatuses),
    qr: z
      .object({
        code: z.string().meta({ description: 'The text of the QR, for who draws it.' }),
        image: z.string().meta({ description: 'The QR as a data URL of a PNG.' }),
        expiresAt: time,
      })
      .nullable(),
    sessionExpiresAt: time.nullable().meta({ description: 'No new code follows after this, until a restart.' }),
  })
  .meta({ id: 'Qr' })

export function viewInstanceStatus(row: InstanceRow): z.infer<typeof instanceStatusView> {
  return {
    id: publicId('ins', row.id),
    enabled: row.enabled,
    connectionStatus: row.status,
    reason: row.reason,
    since: row.since.toISOString(),
  }
}

export function viewInstance(row: InstanceRow, maxAttempts: number): z.infer<typeof instanceView> {
  return {
    ...viewInstanceStatus(row),
    name: row.name,
    provider: row.provider,
    phone: row.phone,
    waId: row.phone === null ? null : waIdFromPhone(row.phone),
    lid: row.lid,
    pushName: row.pushName,
    profilePictureUrl: row.pictureUrl,
    restrictedUntil: row.restrictedUntil?.toISOString() ?? null,
    rejectCalls: row.rejectCalls,
    reconnect: {
      attempt: row.reconnectAttempt,
      max: maxAttempts,
      nextAt: row.reconnectAt?.toISOString() ?? null,
      lastReason: row.lastCloseReason,
    },
    lastSeenAt: row.lastSeenAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  }
}

export function viewInstanceDetails(
  row: InstanceRow,
  owner: InstanceOwner | undefined,
  maxAttempts: number,
): z.infer<typeof instanceDetailsView> {
  return {
    ...viewInstance(row, maxAttempts),
    owner: owner ? { ...owner, epoch: Number(owner.epoch), acquiredAt: owner.acquiredAt.toISOString() } : null,
  }
}

/** The library is loaded when the first QR is shown. */
export async function viewQr(row: QrRow, code: string): Promise<z.infer<typeof qrView>> {
  const { default: qrcode } = await import('qrcode')
  return {
    connectionStatus: row.status,
    qr: { code, image: await qrcode.toDataURL(code), expiresAt: row.expiresAt?.toISOString() ?? '' },
    sessionExpiresAt: row.sessionExpiresAt?.toISOString() ?? null,
  }
}

export const viewConnected = { connectionStatus: 'CONNECTED', qr: null, sessionExpiresAt: null } as const
