/** Commands from the web role to the holder of a number, as the web role sees them. */
import sql from 'sql-template-tag'
import type { CommandId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../../platform/database/database.js'
import type { CommandArgs, CommandResult, ErrandKind } from './errand.js'
import type { InstanceRef } from './instance.js'

/** What a holder can be asked to do: end what it does, or an errand on its live connection (errand.ts). */
export type CommandKind = 'restart' | 'logout' | ErrandKind

export interface CommandAnswer {
  readonly status: 'pending' | 'running' | 'done' | 'failed'
  readonly result: CommandResult | null
}

/** Wakes the holder by NOTIFY `mirante_command`. */
export async function insertCommand(
  tx: Tx,
  { tenantId, instanceId }: InstanceRef,
  command: {
    readonly commandId: CommandId
    readonly kind: CommandKind
    readonly args: CommandArgs
    readonly expiresInMs: number
  },
): Promise<void> {
  await tx.execute(sql`
    insert into instance_command (id, tenant_id, instance_id, kind, args, expires_at)
    values (${command.commandId}, ${tenantId}, ${instanceId}, ${command.kind}, ${JSON.stringify(command.args)}::jsonb,
      now() + make_interval(secs => ${command.expiresInMs / 1_000}))`)
}

export async function findAnswer(
  db: Queryable,
  { tenantId }: InstanceRef,
  commandId: CommandId,
): Promise<CommandAnswer | undefined> {
  const [row] = await db.query<CommandAnswer>(
    sql`select status, result from instance_command where tenant_id = ${tenantId} and id = ${commandId}`,
    'find_command_answer',
  )
  return row
}

/** Withdraws a command that nobody has begun. False: a holder has it, or has answered. */
export async function withdrawCommand(
  db: Queryable,
  { tenantId }: InstanceRef,
  commandId: CommandId,
): Promise<boolean> {
  const count = await db.execute(sql`
    delete from instance_command where tenant_id = ${tenantId} and id = ${commandId} and status = 'pending'`)
  return count > 0
}

/** Housekeeping: commands of all tenants that are a day past their deadline. @returns how many rows went. */
export async function deleteOldCommands(db: Queryable): Promise<number> {
  return db.execute(sql`delete from instance_command where expires_at < now() - interval '1 day'`)
}
