/**
 * What other features hang on a session: sender, ingest, receipts. Compose hands them to the session factory, so that
 * `instances` knows nothing to its right.
 *
 * Promises: the hooks of one session never overlap and come in the order of what happened: `acquired` once, before anything
 * is connected; then per connection `received` for every event and `opened` right after the `open` event was received.
 * The next event is offered when the previous `received` has settled; nothing is dropped, so an attachment that is slow
 * makes events wait in memory.
 *
 * An attachment that fails (throws, rejects) ends its connection, never the process: the session logs it, terminates the
 * socket and connects again under the reconnect policy. The events that had come before the socket was cut are still offered,
 * in order; what the attachment did not take comes again by the sweep over `inbound_raw`. When the lease was lost, nothing
 * but `close` is offered any more: whatever would be written for it is refused.
 */
import type { InstanceId, TenantId } from '../../kernel/ids.js'
import type { Lease } from '../../platform/leases/lease.js'
import type { Connection, ConnectionEvent } from '../../platform/whatsapp/whatsapp.js'
import type { CommandArgs, CommandResult, ErrandKind } from './errand.js'

export interface SessionContext {
  readonly tenantId: TenantId
  readonly instanceId: InstanceId
  readonly lease: Lease
  readonly connection: Connection
  /** Aborted when this connection ends. */
  readonly signal: AbortSignal
}

/**
 * Throws an AppError for what whoever asks should know. Given up when the connection ends: they are told that the instance is
 * not connected.
 */
export type Errand = (session: SessionContext, args: CommandArgs) => Promise<CommandResult>

export interface SessionAttachment {
  /** The connection is open. Must return at once and not throw; the work it begins goes on until `session.signal` aborts. */
  opened?(session: SessionContext): void
  /** Every connection event, in order, before and after open, including 'close'. Awaited in order per session. */
  received?(session: SessionContext, event: ConnectionEvent): Promise<void>
  /**
   * The open connection is about to be closed in peace (disable, restart, shutdown): begin nothing new, and resolve when
   * nothing is in flight. Waited for, but not for ever: some seconds later the connection is closed all the same.
   */
  closing?(session: SessionContext): Promise<void>
  /**
   * The lease was acquired, before connecting: the moment to recover what a predecessor left half done. Tried again, with
   * pauses, until it succeeds or the lease is lost; the number does not connect before.
   */
  acquired?(lease: Lease, tenantId: TenantId, instanceId: InstanceId): Promise<void>
  /** What it does on an open connection when it is asked to. */
  readonly errands?: { readonly [Kind in ErrandKind]?: Errand }
}
