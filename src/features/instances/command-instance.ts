/** Asks the holder of an instance to do something and waits for its answer: a deadline gives a typed error, never a hang. */
import { AppError, type ErrorCode, errorCatalogue } from '../../kernel/errors.js'
import type { IdGenerator } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type CommandAnswer, type CommandKind, findAnswer, insertCommand, withdrawCommand } from './command-store.js'
import type { CommandArgs, CommandResult } from './errand.js'
import type { InstanceRef } from './instance.js'
import type { News } from './news.js'

export interface CommandInstanceDeps {
  readonly db: Database
  readonly ids: IdGenerator
  readonly news: News
  /** Default: 20,000. */
  readonly deadlineMs?: number
}

const DEFAULT_DEADLINE_MS = 20_000

/** Resolves to what the holder answered when it has obeyed. Throws why it could not, or `command_timeout`. */
export async function commandInstance(
  deps: CommandInstanceDeps,
  owner: InstanceRef,
  kind: CommandKind,
  args: CommandArgs = {},
): Promise<CommandResult> {
  const { db, ids, news, deadlineMs = DEFAULT_DEADLINE_MS } = deps
  const { tenantId } = owner
  const commandId = ids.next('cmd')
  await db.tenantTx(tenantId, (tx) => insertCommand(tx, owner, { commandId, kind, args, expiresInMs: deadlineMs }))
  const answer = await news.until({
    channel: 'mirante_command_settled',
    about: commandId,
    timeoutMs: deadlineMs,
    look: async () => settled(await findAnswer(db, owner, commandId)),
  })
  if (!answer) {
    await withdrawCommand(db, owner, commandId)
    throw new AppError('command_timeout')
  }
  if (answer.status === 'failed') throw new AppError(codeOf(answer), detailOf(answer))
  return answer.result ?? {}
}

const settled = (answer: CommandAnswer | undefined): CommandAnswer | undefined =>
  answer?.status === 'done' || answer?.status === 'failed' ? answer : undefined

const detailOf = ({ result }: CommandAnswer): { detail?: string } =>
  typeof result?.detail === 'string' ? { detail: result.detail } : {}

/** The holder may run another version of this code: a code that is not known here is internal. */
function codeOf({ result }: CommandAnswer): ErrorCode {
  const code = result?.code
  return typeof code === 'string' && code in errorCatalogue ? (code as ErrorCode) : 'internal'
}
