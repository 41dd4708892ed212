/**
 * How much outreach a tenant may do: so many messages a day and an hour, and so many a day from one number. A reservation
 * takes one of each or none.
 *
 * Promises: what is granted never exceeds a limit by one, however many ask at once, and a message that asks again (after a
 * crash, from another process) has its first reservation. Counters that were lost are counted anew before the next grant.
 * Rejects when it cannot be known: then nothing may be sent.
 *
 * Whoever uses counters that may be lost keeps the book, for the recount: first record that a message asks, then reserve, then
 * record that it was granted or denied; and record that it was given back before `release`.
 */
import type { InstanceId, MessageId, TenantId } from '../../kernel/ids.js'

/** In the order in which they are tested. */
export const quotaNames = ['daily', 'hourly', 'number'] as const
export type QuotaName = (typeof quotaNames)[number]

export interface QuotaUse {
  readonly tenantId: TenantId
  /** What is to be sent: the name of the reservation. */
  readonly messageId: MessageId
  readonly instanceId: InstanceId
  /** In the tenant's time zone, and kept when it asks again: `2026-11-21`. */
  readonly day: string
  /** `2026-11-21T14`. */
  readonly hour: string
}

export type QuotaLimits = Readonly<Record<QuotaName, number>>

export type QuotaAnswer =
  /** `replay`: it had been granted before. */
  | { readonly granted: true; readonly replay: boolean }
  | { readonly granted: false; readonly by: QuotaName; readonly used: number }

export interface Quotas {
  reserve(use: QuotaUse, limits: QuotaLimits): Promise<QuotaAnswer>
  /** Of a message that surely was not sent. False: there was no reservation. */
  release(use: QuotaUse): Promise<boolean>
}

/** What the book says of one day of a tenant. */
export interface QuotaBook {
  readonly granted: readonly QuotaUse[]
  /** Have asked, with no answer recorded: perhaps granted. They are counted until they ask again. */
  readonly asked: readonly QuotaUse[]
}

export type Recount = (tenantId: TenantId, day: string) => Promise<QuotaBook>

/** The period that each limit counts over, for this use. */
export const quotaPeriods = ({ instanceId, day, hour }: QuotaUse): Readonly<Record<QuotaName, string>> => ({
  daily: day,
  hourly: hour,
  number: `${instanceId}:${day}`,
})

/** The first limit that one more would pass. Pure. */
export function passedLimit(used: Readonly<Record<QuotaName, number>>, limits: QuotaLimits): QuotaName | undefined {
  return quotaNames.find((name) => used[name] + 1 > limits[name])
}
