/** Asks WhatsApp something through the holder of an instance, for whoever may see the instance. */
import { AppError } from '../../kernel/errors.js'
import { type CommandInstanceDeps, commandInstance } from './command-instance.js'
import type { CommandArgs, CommandResult, ErrandKind } from './errand.js'
import type { InstanceRef } from './instance.js'
import { findInstance } from './instance-store.js'

/** Throws `not_found`, `instance_disabled`, `instance_not_connected`, what the holder answers, or `command_timeout`. */
export async function askHolder(
  deps: CommandInstanceDeps,
  owner: InstanceRef,
  kind: ErrandKind,
  args: CommandArgs = {},
): Promise<CommandResult> {
  const instance = await findInstance(deps.db, owner.tenantId, owner.instanceId)
  if (!instance) throw new AppError('not_found', { detail: 'No instance has this id.' })
  if (!instance.enabled) throw new AppError('instance_disabled')
  if (instance.status !== 'CONNECTED') throw new AppError('instance_not_connected')
  return commandInstance(deps, owner, kind, args)
}
