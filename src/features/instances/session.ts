/**
 * One leased instance on this process, from taking the lease to giving it up: connects, reconnects as the policy says, obeys
 * its owner, and ends.
 *
 *   begin ─▶ connect ─▶ (closed) ─▶ wait ─▶ connect …        the loop; the policy gives the wait
 *                          └─▶ parked: only its owner, or a new holder, goes on
 *   every turn: lease lost → end, write nothing · shutdown or disabled → end · deleted → log out, purge, end · commands
 *
 * Promises: credentials are loaded under this lease's epoch before every connection; nothing is written once the lease is
 * lost; where a write may or may not have taken effect, nothing is loaded again under the same epoch (`uncertain`).
 */
import { setMaxListeners } from 'node:events'
import { createBell } from '../../kernel/bell.js'
import { type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import { errorText } from '../../kernel/logger.js'
import { FencedError } from '../../platform/leases/fence.js'
import type { Lease } from '../../platform/leases/lease.js'
import type { CloseReason } from '../../platform/whatsapp/close-reason.js'
import { insist } from './insist.js'
import type { ConnectionEnd, LiveConnection } from './live-connection.js'
import { createOwnersWill, type OwnersWill } from './owners-will.js'
import { cleanHistory, nextReconnect } from './reconnect-policy.js'
import { type Closing, createReconnectState, type ReconnectState } from './reconnect-state.js'
import { CannotConnect, type ConnectRequest, connectSession } from './session-connect.js'
import type { SessionDeps } from './session-deps.js'
import { sayFarewell } from './session-farewell.js'
import { createSessionRecord, type SessionRecord } from './session-record.js'
import { type ClaimedCommand, findHeldInstance, type HeldInstance, isStillOurs } from './session-store.js'

export interface SessionEntry {
  readonly lease: Lease
  readonly instanceId: InstanceId
  /** How the session before this one, on this process, ended in doubt. */
  readonly resume: Closing | undefined
  /** Resolves when the first connection may begin, to what is to be called when it has begun. */
  readonly enter: (signal: AbortSignal) => Promise<() => void>
  readonly onAlive: () => void
}

export type SessionEnd =
  /** Put down in peace: the lease may be given back. */
  | { readonly end: 'released' }
  /** The lease is lost; nothing is to be done. */
  | { readonly end: 'lost' }
  /** The fence refused a write, though the lease seemed ours. */
  | { readonly end: 'fenced' }
  /** Whether a write took effect is unknown: go on under a new epoch only. */
  | { readonly end: 'uncertain'; readonly resume: Closing }

export interface Session {
  readonly instanceId: InstanceId
  /** Undefined until the row was read. */
  readonly tenantId: TenantId | undefined
  readonly lease: Lease
  readonly isOpen: boolean
  /** A phone is being linked, or may be in a moment: to begin anew elsewhere would cost its owner a code. */
  readonly isPairing: boolean
  /** Never rejects. */
  readonly ended: Promise<SessionEnd>
  /** The row changed or a command came: look. */
  poke(): void
  /** Put the number down in peace, for shutdown. */
  drain(): void
}

/** What the loop works with, as soon as the row was read. */
interface Parts {
  readonly record: SessionRecord
  readonly request: ConnectRequest
  readonly will: OwnersWill
  readonly reconnects: ReconnectState
}

export function createSession(deps: SessionDeps, entry: SessionEntry): Session {
  const { db, clock, random } = deps
  const { lease, instanceId, resume } = entry
  const logger = deps.logger.child({ instance: publicId('ins', instanceId), epoch: String(lease.epoch) })
  const bell = createBell()
  const draining = new AbortController()
  // Every write that is tried again listens to it.
  setMaxListeners(0, lease.signal)
  /** No more waiting: for a database that is away, for a place to start. */
  const ending = AbortSignal.any([lease.signal, draining.signal])
  let parts: Parts | undefined
  let live: LiveConnection | undefined
  let enter = entry.enter
  let loggedOut = false

  ending.addEventListener('abort', enforce, { once: true })
  lease.signal.addEventListener('abort', enforce, { once: true })
  return {
    instanceId,
    lease,
    get tenantId() {
      return parts?.request.owner.tenantId
    },
    get isOpen() {
      return live?.phase === 'open'
    },
    get isPairing() {
      return !parts || (parts.record.current.phone === null && !parts.reconnects.parked)
    },
    ended: run().catch(failed),
    poke: () => parts?.will.poke(),
    drain: () => draining.abort(),
  }

  async function run(): Promise<SessionEnd> {
    const instance = await steadily(() => findHeldInstance(db, instanceId))
    if (!instance || instance.purged) return { end: 'released' }
    parts = assemble(instance)
    if (parts.will.wish === 'run') await begin(parts)
    return await loop(parts)
  }

  async function loop(of: Parts): Promise<SessionEnd> {
    const { will, reconnects, request } = of
    while (!lease.signal.aborted) {
      if (will.wish === 'deleted' && !draining.signal.aborted) await sayFarewell(deps, request, loggedOut)
      if (draining.signal.aborted || will.wish !== 'run') return { end: 'released' }
      if (will.order) await obey(of, will.order)
      else if (reconnects.parked) await bell.rung()
      else if (reconnects.waitMs > 0) await bell.rung((stop) => clock.sleep(reconnects.waitMs, stop))
      else {
        const end = await connectOnce(of)
        if (end) return end
      }
    }
    return { end: 'lost' }
  }

  // Beginning

  function assemble(instance: HeldInstance): Parts {
    const owner = { tenantId: instance.tenantId, instanceId }
    const record = createSessionRecord({ ...deps, logger, lease, owner, initial: instance.record })
    const reconnects = createReconnectState({ ...deps, logger, policy: deps.reconnectPolicy, record, resume })
    const will = createOwnersWill({
      db,
      lease,
      owner,
      logger,
      record,
      initial: instance,
      isDraining: () => draining.signal.aborted,
      live: () => live,
      wake: () => bell.ring(),
    })
    const request: ConnectRequest = {
      owner,
      lease,
      name: instance.name,
      provider: instance.provider,
      record,
      attachments: deps.attachments,
      logger,
      signal: ending,
      onAlive: entry.onAlive,
      // Only for show: the next write carries it too.
      onStable: () => void reconnects.forget().catch(() => {}),
    }
    return { record, request, will, reconnects }
  }

  async function begin({ record, request, will, reconnects }: Parts): Promise<void> {
    const events = [{ type: 'lease.taken' as const, data: { epoch: String(lease.epoch), replica: deps.replica } }]
    const taken = { what: 'taken', known: record.current.phone !== null } as const
    await record.write(resume ? { events } : { events, happening: taken })
    for (const attachment of deps.attachments) {
      await patiently(async () => attachment.acquired?.(lease, request.owner.tenantId, instanceId))
    }
    if (resume) await reconnects.settle(resume, { ended: true })
    will.poke()
  }

  // Connecting

  async function connectOnce(of: Parts): Promise<SessionEnd | undefined> {
    const begun = await enter(ending)
    enter = async () => () => {}
    try {
      if (ending.aborted || !of.will.isContent) return undefined
      live = await connectSession(deps, of.request)
      void live.begun.then(begun)
      of.will.enforce()
      return await afterClose(of, await live.ended)
    } catch (error) {
      if (!(error instanceof CannotConnect)) throw error
      logger.error('SESSION', 'the connection could not begin', { error: errorText(error.cause) })
      await of.reconnects.settle(of.reconnects.decide(error.reason), { ended: false })
      return undefined
    } finally {
      begun()
      live = undefined
    }
  }

  async function afterClose(of: Parts, { reason, detail, uncertain }: ConnectionEnd): Promise<SessionEnd | undefined> {
    live = undefined
    if (lease.signal.aborted) return { end: 'lost' }
    const meant = await meaningOf(of, reason)
    logger.info('RECONNECT', 'connection closed', { reason: meant, detail })
    if (meant === 'LEASE_LOST') return { end: 'fenced' }
    const closing = of.reconnects.decide(meant)
    if (uncertain) return { end: 'uncertain', resume: closing }
    loggedOut = meant === 'LOGOUT'
    // The owner's word stands in the row already, or the command will write its own.
    if (of.will.wish !== 'run' || (meant === 'CLOSED' && of.will.order)) return undefined
    await of.reconnects.settle(closing, { ended: true })
    return undefined
  }

  /** What a close means for us, who may have asked for it, or may have been replaced by the new holder. */
  async function meaningOf({ will, record }: Parts, reason: CloseReason): Promise<CloseReason> {
    if (reason === 'CLOSED' && will.isContent) return 'CONNECTION_LOST'
    // The phone is known from the first open on, and a log-out by the owner forgets it only afterwards.
    if (reason === 'LOGOUT' && will.isContent && record.current.phone === null) return 'PAIRING_INTERRUPTED'
    if (reason !== 'REPLACED') return reason
    return (await steadily(() => isStillOurs(db, lease))) ? reason : 'LEASE_LOST'
  }

  async function obey({ record, will, reconnects }: Parts, order: ClaimedCommand): Promise<void> {
    // The connection may have ended after the command was claimed.
    if (await will.refused(order)) return
    if (order.kind === 'restart') await reconnects.restart()
    // Without a connection that could tell WhatsApp: put away what is worth nothing.
    else if (record.current.state.reason !== 'LOGOUT')
      await reconnects.settle(reconnects.decide('LOGOUT'), { ended: true })
    await will.answered(order)
  }

  // Ending

  function enforce(): void {
    bell.ring()
    parts?.will.enforce()
  }

  function failed(error: unknown): SessionEnd {
    if (lease.signal.aborted) return { end: 'lost' }
    if (error instanceof FencedError) return { end: 'fenced' }
    if (draining.signal.aborted) return { end: 'released' }
    logger.error('SESSION', 'the session failed', { error: errorText(error) })
    const reason = 'NOT_DURABLE'
    const decide = parts?.reconnects.decide
    const decision = nextReconnect({ reason, atMs: clock.mono() }, cleanHistory, deps.reconnectPolicy, random)
    return { end: 'uncertain', resume: decide?.(reason) ?? { reason, decision } }
  }

  function steadily<Result>(work: () => Promise<Result>): Promise<Result> {
    return insist(work, { clock, random, logger, signal: ending })
  }

  /** Whatever it fails with, it is tried again: what it recovers must be recovered before the number connects. */
  async function patiently(work: () => Promise<void>): Promise<void> {
    for (let pauseMs = 500; ; pauseMs = Math.min(pauseMs * 2, 30_000)) {
      try {
        return await steadily(work)
      } catch (error) {
        if (ending.aborted || error instanceof FencedError) throw error
        logger.error('SESSION', 'an attachment could not take over; trying on', { error: errorText(error) })
        await clock.sleep(pauseMs, ending).catch(() => {})
      }
    }
  }
}
