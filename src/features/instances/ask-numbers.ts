/** Asks WhatsApp about numbers, through whoever holds the instance. The web role's side of check-numbers.ts. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import type { NumberCheck } from '../../platform/whatsapp/whatsapp.js'
import { type CommandInstanceDeps, commandInstance } from './command-instance.js'
import type { InstanceRef } from './instance.js'
import { findInstance } from './instance-store.js'

export interface NumberAsker {
  /** Throws `not_found` or `instance_disabled`: then nobody would answer. */
  assertAskable(owner: InstanceRef): Promise<void>
  /** A check for each number, in their order. Throws `instance_not_connected`, `whatsapp_unanswered` or `command_timeout`. */
  ask(owner: InstanceRef, waIds: readonly string[]): Promise<readonly NumberCheck[]>
}

const answer = z.object({
  checks: z.array(
    z.object({
      exists: z.boolean(),
      waId: z.string().exactOptional(),
      lid: z.string().exactOptional(),
      username: z.string().exactOptional(),
    }),
  ),
})

export function createNumberAsker(deps: CommandInstanceDeps): NumberAsker {
  return {
    async assertAskable({ tenantId, instanceId }) {
      const instance = await deps.db.tenantTx(tenantId, (tx) => findInstance(tx, tenantId, instanceId))
      const detail = 'No instance has this id.'
      if (!instance) throw new AppError('not_found', { detail, errors: [{ pointer: '/instanceId', detail }] })
      if (!instance.enabled) throw new AppError('instance_disabled')
    },
    async ask(owner, waIds) {
      const { checks } = answer.parse(await commandInstance(deps, owner, 'check_numbers', { waIds }))
      if (checks.length !== waIds.length) throw new AppError('internal')
      return checks
    },
  }
}
