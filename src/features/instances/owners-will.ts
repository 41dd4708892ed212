/**
 * What is wanted of a session now: by the owner through the row and through commands, by the process through a drain. Makes
 * a connection or a sleep that is under way notice it.
 */
import { AppError, type ErrorCode } from '../../kernel/errors.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import type { Lease } from '../../platform/leases/lease.js'
import { awaitsOwner, type InstanceRef } from './instance.js'
import type { LiveConnection } from './live-connection.js'
import { createSessionOrders } from './session-orders.js'
import type { SessionRecord } from './session-record.js'
import { type ClaimedCommand, findHeldInstance, type HeldInstance } from './session-store.js'

export type Wish = 'run' | 'disabled' | 'deleted'

export interface OwnersWill {
  readonly wish: Wish
  /** A command to obey. */
  readonly order: ClaimedCommand | undefined
  /** Nothing is asked but to stay connected. */
  readonly isContent: boolean
  /** Reads row and commands; a poke during a look leads to one more. */
  poke(): void
  /** Ends or changes what is under way, if it is not what is wanted. */
  enforce(): void
  answered(command: ClaimedCommand): Promise<void>
  /** Whether the command cannot be obeyed as things are now; then it has been answered so. */
  refused(command: ClaimedCommand): Promise<boolean>
}

export interface OwnersWillOptions {
  readonly db: Database
  readonly lease: Lease
  readonly owner: InstanceRef
  readonly logger: Logger
  readonly record: SessionRecord
  readonly initial: HeldInstance
  readonly isDraining: () => boolean
  readonly live: () => LiveConnection | undefined
  /** Ends a sleep of the loop. */
  readonly wake: () => void
}

export function createOwnersWill(options: OwnersWillOptions): OwnersWill {
  const { db, lease, owner, logger, record, isDraining, live, wake } = options
  const orders = createSessionOrders({
    db,
    lease,
    owner,
    logger,
    async carryOut({ kind, args }) {
      const connection = live()
      if (!connection) throw new AppError('instance_not_connected')
      return connection.carryOut(kind, args)
    },
  })
  let wish = wishOf(options.initial)
  let looking = false
  let lookAgain = false
  let loggingOut = false

  return {
    get wish() {
      return wish
    },
    get order() {
      return orders.first
    },
    get isContent() {
      return wish === 'run' && !orders.first && !isDraining()
    },
    poke: () => void poke(),
    enforce,
    answered: (command) => orders.done(command),
    async refused(command) {
      const code = refusal(command)
      if (code) await orders.failed(command, code)
      return code !== undefined
    },
  }

  async function poke(): Promise<void> {
    lookAgain = true
    if (looking) return
    looking = true
    while (lookAgain && !lease.signal.aborted && !isDraining()) {
      lookAgain = false
      await look()
    }
    looking = false
  }

  async function look(): Promise<void> {
    try {
      const instance = await findHeldInstance(db, owner.instanceId)
      if (instance) wish = wishOf(instance)
      if (wish === 'run') await orders.claim(refusal)
    } catch (error) {
      logger.warn('SESSION', 'the row could not be read; the next tick looks again', { error: errorText(error) })
    }
    enforce()
  }

  /** Only an open connection can tell WhatsApp; without one, only what WhatsApp has ended, or never began, can be put away. */
  function refusal({ kind }: ClaimedCommand): ErrorCode | undefined {
    const { phone, state } = record.current
    if (kind !== 'logout' || live()?.phase === 'open' || phone === null || awaitsOwner(state)) return undefined
    return 'instance_not_connected'
  }

  function enforce(): void {
    wake()
    const connection = live()
    const order = orders.first
    if (!connection || loggingOut) return
    const leave = wish === 'deleted' || order?.kind === 'logout'
    if (leave && !isDraining() && connection.phase === 'open') void logOut(connection, order)
    else if (isDraining() || wish !== 'run' || order) connection.close()
  }

  async function logOut(connection: LiveConnection, order: ClaimedCommand | undefined): Promise<void> {
    loggingOut = true
    try {
      await connection.logout()
    } catch (error) {
      logger.warn('SESSION', 'WhatsApp did not confirm the log-out', { error: errorText(error) })
      if (order) await orders.failed(order, 'command_timeout')
      if (wish === 'deleted') connection.close()
    } finally {
      loggingOut = false
    }
  }
}

const wishOf = ({ enabled, deleted }: HeldInstance): Wish => {
  if (deleted) return 'deleted'
  return enabled ? 'run' : 'disabled'
}
