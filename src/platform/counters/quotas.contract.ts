/** What all quotas keep. */
import { describe, expect, it } from 'vitest'
import { createIdGenerator, type TenantId } from '../../kernel/ids.js'
import type { QuotaLimits, Quotas, QuotaUse } from './quotas.js'

export interface QuotasContractOptions {
  readonly quotas: () => Quotas
  readonly newTenant: () => Promise<TenantId>
}

const PLENTY: QuotaLimits = { daily: 1_000, hourly: 1_000, number: 1_000 }
const ids = createIdGenerator()

/** A message that asks on one day, from an instance of its own unless given. */
export const newUse = (tenantId: TenantId, overrides: Partial<QuotaUse> = {}): QuotaUse => ({
  tenantId,
  messageId: ids.next('msg'),
  instanceId: ids.next('ins'),
  day: '2026-11-21',
  hour: '2026-11-21T14',
  ...overrides,
})

export function quotasContract({ quotas, newTenant }: QuotasContractOptions): void {
  describe('quotas', () => {
    it.each([
      ['daily', { daily: 2 }, { hour: '2026-11-21T15' }],
      ['hourly', { hourly: 2 }, { day: '2026-11-20' }],
      ['number', { number: 2 }, { hour: '2026-11-21T16' }],
    ] as const)('grant up to the %s limit, and say that it was reached', async (by, limit, other) => {
      const tenantId = await newTenant()
      const instanceId = ids.next('ins')
      const limits = { ...PLENTY, ...limit }
      const ask = (overrides?: Partial<QuotaUse>) =>
        quotas().reserve(newUse(tenantId, { instanceId, ...overrides }), limits)
      expect(await ask()).toEqual({ granted: true, replay: false })
      expect(await ask(other)).toEqual({ granted: true, replay: false })
      expect(await ask()).toEqual({ granted: false, by, used: 2 })
    })

    it('take one of each or none', async () => {
      const tenantId = await newTenant()
      const limits = { daily: 3, hourly: 3, number: 1 }
      const instanceId = ids.next('ins')
      await quotas().reserve(newUse(tenantId, { instanceId }), limits)
      for (let asked = 0; asked < 5; asked++) {
        expect(await quotas().reserve(newUse(tenantId, { instanceId }), limits)).toMatchObject({ by: 'number' })
      }
      expect(await quotas().reserve(newUse(tenantId), limits)).toMatchObject({ granted: true })
      expect(await quotas().reserve(newUse(tenantId), limits)).toMatchObject({ granted: true })
      expect(await quotas().reserve(newUse(tenantId), limits)).toMatchObject({ by: 'daily', used: 3 })
    })

    it('count a message once, however often it asks', async () => {
      const tenantId = await newTenant()
      const limits = { daily: 2, hourly: 2, number: 2 }
      const use = newUse(tenantId)
      await quotas().reserve(use, limits)
      for (let asked = 0; asked < 3; asked++) {
        expect(await quotas().reserve(use, limits)).toEqual({ granted: true, replay: true })
      }
      expect(await quotas().reserve(newUse(tenantId), limits)).toMatchObject({ granted: true })
      expect(await quotas().reserve(newUse(tenantId), limits)).toMatchObject({ granted: false })
      expect(await quotas().reserve(use, limits)).toEqual({ granted: true, replay: true })
    })

    it('take back what was not sent, once', async () => {
      const tenantId = await newTenant()
      const limits = { daily: 1, hourly: 1, number: 1 }
      const use = newUse(tenantId)
      expect(await quotas().release(use)).toBe(false)
      await quotas().reserve(use, limits)
      expect(await quotas().release(use)).toBe(true)
      expect(await quotas().release(use)).toBe(false)
      expect(await quotas().reserve(newUse(tenantId), limits)).toMatchObject({ granted: true })
      expect(await quotas().reserve(newUse(tenantId), limits)).toMatchObject({ granted: false, used: 1 })
    })

    it('keep tenants apart', async () => {
      const limits = { daily: 1, hourly: 1, number: 1 }
      for (const tenantId of [await newTenant(), await newTenant()]) {
        expect(await quotas().reserve(newUse(tenantId), limits)).toMatchObject({ granted: true })
      }
    })

    it('never grant one too many to 20 who ask at once', async () => {
      const tenantId = await newTenant()
      const instances = Array.from({ length: 3 }, () => ids.next('ins'))
      const limits = { daily: 60, hourly: 50, number: 30 }
      const answers = await Promise.all(
        Array.from({ length: 20 }, async (_, client) => {
          const own = []
          for (let asked = 0; asked < 10; asked++) {
            const instanceId = instances[(client + asked) % 3] ?? ids.next('ins')
            own.push(await quotas().reserve(newUse(tenantId, { instanceId }), limits))
          }
          return own
        }),
      )
      expect(answers.flat().filter(({ granted }) => granted)).toHaveLength(50)
    })
  })
}
