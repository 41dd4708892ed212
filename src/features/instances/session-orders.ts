/** The commands that a session has claimed and not answered yet: orders, which it obeys in its loop, and errands. */
import { AppError, type ErrorCode } from '../../kernel/errors.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import type { Lease } from '../../platform/leases/lease.js'
import type { CommandResult, ErrandKind } from './errand.js'
import type { InstanceRef } from './instance.js'
import { type ClaimedCommand, claimCommands, settleCommand } from './session-store.js'

export interface SessionOrders {
  /** The order to obey next. */
  readonly first: ClaimedCommand | undefined
  /** Claims what has come. `refuse` says at once why one cannot be obeyed. Rejects when the database does not answer. */
  claim(refuse: (command: ClaimedCommand) => ErrorCode | undefined): Promise<void>
  done(command: ClaimedCommand): Promise<void>
  failed(command: ClaimedCommand, code: ErrorCode): Promise<void>
}

export interface SessionOrdersOptions {
  readonly db: Database
  readonly lease: Lease
  readonly owner: InstanceRef
  readonly logger: Logger
  /** Carries out an errand. */
  readonly carryOut: (command: ClaimedCommand & { readonly kind: ErrandKind }) => Promise<CommandResult>
}

export function createSessionOrders({ db, lease, owner, logger, carryOut }: SessionOrdersOptions): SessionOrders {
  let claimed: readonly ClaimedCommand[] = []
  return {
    get first() {
      return claimed[0]
    },
    async claim(refuse) {
      for (const command of await claimCommands(db, lease, owner)) {
        const refusal = isErrand(command) ? undefined : refuse(command)
        if (isErrand(command)) void run(command)
        else if (refusal) await answer(command, 'failed', { code: refusal })
        else claimed = [...claimed, command]
      }
    },
    done: (command) => answer(command, 'done', {}),
    failed: (command, code) => answer(command, 'failed', { code }),
  }

  async function run(command: ClaimedCommand & { readonly kind: ErrandKind }): Promise<void> {
    try {
      await answer(command, 'done', await carryOut(command))
    } catch (error) {
      const known = error instanceof AppError ? error : new AppError('internal')
      if (known.code === 'internal')
        logger.error('SESSION', 'an errand failed', { kind: command.kind, error: errorText(error) })
      await answer(command, 'failed', { code: known.code, ...(known.detail ? { detail: known.detail } : {}) })
    }
  }

  async function answer(command: ClaimedCommand, status: 'done' | 'failed', result: CommandResult): Promise<void> {
    claimed = claimed.filter((other) => other !== command)
    try {
      await settleCommand(db, lease, owner, command.commandId, { status, result })
    } catch (error) {
      // Whoever waits gets `command_timeout` at its deadline and looks at the status.
      logger.warn('SESSION', 'a command could not be answered', { kind: command.kind, error: errorText(error) })
    }
  }
}

const isErrand = (command: ClaimedCommand): command is ClaimedCommand & { readonly kind: ErrandKind } =>
  command.kind !== 'restart' && command.kind !== 'logout'
