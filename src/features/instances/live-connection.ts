/**
 * One connection of a session, from connecting to its close. Takes the connection's events in order: keeps the instance's
 * record, hands them to the attachments, and ends the connection when its lease, its journal or its health fails. Decides
 * nothing about what comes after.
 */
import { setMaxListeners } from 'node:events'
import { createBell } from '../../kernel/bell.js'
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Lease } from '../../platform/leases/lease.js'
import type { CloseReason } from '../../platform/whatsapp/close-reason.js'
import { phoneFromWaId } from '../../platform/whatsapp/jid.js'
import { type Connection, type ConnectionEvent, JournalError } from '../../platform/whatsapp/whatsapp.js'
import { createConnectionWatch, type WatchTimes } from './connection-watch.js'
import type { CommandArgs, CommandResult, ErrandKind } from './errand.js'
import type { Phase } from './health.js'
import type { InstanceRef } from './instance.js'
import type { OpenJournal } from './journal.js'
import { pairByCode } from './pair-by-code.js'
import type { SessionAttachment, SessionContext } from './session-attachment.js'
import type { SessionRecord } from './session-record.js'
import { within } from './within.js'

export interface LiveConnectionOptions extends WatchTimes {
  readonly owner: InstanceRef
  readonly lease: Lease
  readonly journal: OpenJournal
  readonly record: SessionRecord
  readonly attachments: readonly SessionAttachment[]
  readonly clock: Clock
  readonly logger: Logger
  /** How long attachments may take to finish before a close in peace. */
  readonly closingMs: number
  /** A provider that was told to end and does not say `close` within this is taken for ended. */
  readonly closeGraceMs: number
  /** Begins to connect. */
  readonly connect: (onEvent: (event: ConnectionEvent) => void) => Promise<Connection>
  readonly sealQr: (code: string) => Buffer
  readonly sealPairingCode: (code: string) => Buffer
  readonly onAlive: () => void
  readonly onStable: () => void
}

export interface ConnectionEnd {
  readonly reason: CloseReason
  readonly detail: string
  /** The journal's last write may still land: load nothing again under this epoch. */
  readonly uncertain: boolean
}

export interface LiveConnection {
  readonly phase: Phase
  /** Resolves at the first thing that WhatsApp showed: a QR, a login, or a close. */
  readonly begun: Promise<void>
  /** Resolves after the last event was taken and the journal has ended. Never rejects. */
  readonly ended: Promise<ConnectionEnd>
  /** Closes in peace; the session stays valid. */
  close(): void
  /** An errand. Rejects with an AppError, or with what is unexpected. */
  carryOut(kind: ErrandKind, args: CommandArgs): Promise<CommandResult>
  /** Removes the device from the account; the close says LOGOUT. Rejects when WhatsApp did not answer. */
  logout(): Promise<void>
}

type EventOf<Type extends ConnectionEvent['type']> = Extract<ConnectionEvent, { type: Type }>

const LOGOUT_TIMEOUT_MS = 10_000

/** Rejects when the provider cannot use what it is given. */
export async function openLiveConnection(options: LiveConnectionOptions): Promise<LiveConnection> {
  const { owner, lease, journal, record, attachments, clock, logger } = options
  const over = new AbortController()
  // Every send under way listens to it.
  setMaxListeners(0, over.signal)
  const watch = createConnectionWatch({ ...options, over: over.signal, end: terminate })
  const queue: ConnectionEvent[] = []
  const bell = createBell()
  let begin: () => void = () => {}
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  let closing = false

  const connection = await options.connect(onEvent)
  const context: SessionContext = { ...owner, lease, connection, signal: over.signal }
  lease.signal.addEventListener('abort', onLeaseLost, { once: true })
  journal.failed.addEventListener('abort', onJournalFailed, { once: true })
  if (lease.signal.aborted) onLeaseLost()
  if (journal.failed.aborted) onJournalFailed()

  return {
    get phase() {
      return watch.phase
    },
    begun,
    ended: run(),
    close: () => void closeInPeace(),
    carryOut: (kind, args) => whileOpen(carryOut(kind, args)),
    logout: () => within(clock, LOGOUT_TIMEOUT_MS, connection.logout()),
  }

  async function carryOut(kind: ErrandKind, args: CommandArgs): Promise<CommandResult> {
    const errand = attachments.find(({ errands }) => errands?.[kind])?.errands?.[kind]
    if (kind === 'pairing_code') return pairByCode({ ...options, context, watch }, args)
    if (!errand) throw new Error(`nobody here carries out ${kind}`)
    if (watch.phase !== 'open' || closing) throw new AppError('instance_not_connected')
    return errand(context, args)
  }

  /** What was asked of the library may never be answered once the connection has ended. */
  function whileOpen<Result>(work: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const give = (): void => reject(new AppError('instance_not_connected'))
      over.signal.addEventListener('abort', give, { once: true })
      if (over.signal.aborted) give()
      work.then(resolve, reject).finally(() => over.signal.removeEventListener('abort', give))
    })
  }

  function onEvent(event: ConnectionEvent): void {
    watch.saw(event.type)
    if (watch.phase !== 'connecting') begin()
    if (event.type === 'close') over.abort()
    queue.push(event)
    bell.ring()
  }

  async function run(): Promise<ConnectionEnd> {
    const { reason, detail } = await takeEvents()
    begin()
    lease.signal.removeEventListener('abort', onLeaseLost)
    journal.failed.removeEventListener('abort', onJournalFailed)
    const failure = await endJournal()
    const uncertain = failure === 'NOT_DURABLE'
    if (lease.signal.aborted || failure === 'LEASE_LOST') return { reason: 'LEASE_LOST', detail, uncertain }
    return { reason: uncertain && reason === 'CLOSED' ? 'NOT_DURABLE' : reason, detail, uncertain }
  }

  async function takeEvents(): Promise<EventOf<'close'>> {
    for (;;) {
      const event = queue.shift()
      if (!event) {
        await bell.rung()
        continue
      }
      await take(event)
      if (event.type === 'close') return event
    }
  }

  async function take(event: ConnectionEvent): Promise<void> {
    // Whatever would be written now is refused: the number is another's.
    if (lease.signal.aborted && event.type !== 'close') return
    try {
      await note(event)
    } catch (error) {
      fail('the status could not be written', error)
    }
    for (const attachment of attachments) {
      try {
        await attachment.received?.(context, event)
        if (event.type === 'open') attachment.opened?.(context)
      } catch (error) {
        fail(`an attachment failed at ${event.type}`, error)
      }
    }
  }

  function fail(what: string, error: unknown): void {
    if (lease.signal.aborted) return
    logger.error('SESSION', what, { error: errorText(error) })
    terminate('CONNECTION_LOST')
  }

  /** Our own part of an event. */
  async function note(event: ConnectionEvent): Promise<void> {
    switch (event.type) {
      case 'qr':
        return noteQr(event)
      case 'paired':
      case 'loading':
        return record.write({ happening: { what: event.type }, patch: { qr: null } })
      case 'open':
        return noteOpen(event)
      case 'profile':
        return noteProfile(event)
      case 'alive':
        return options.onAlive()
      default:
    }
  }

  async function noteQr({ code, expiresAt }: EventOf<'qr'>): Promise<void> {
    const sessionExpiresAt = watch.qrSessionExpiresAt
    // The code itself is a secret: whoever scans it owns the session. It is read with a key's scope, not told in an event.
    const data = { method: 'qr', expiresAt: expiresAt.toISOString(), sessionExpiresAt: sessionExpiresAt.toISOString() }
    await record.write({
      happening: { what: 'qr' },
      patch: { qr: { sealed: options.sealQr(code), expiresAt, sessionExpiresAt } },
      events: [{ type: 'instance.qr_updated', data }],
    })
  }

  async function noteOpen({ waId, lid, pushName }: EventOf<'open'>): Promise<void> {
    options.onAlive()
    const phone = phoneFromWaId(waId)
    const before = record.current.phone === phone ? record.current : { lid: null, pushName: null, pictureUrl: null }
    const number = {
      phone,
      lid: lid ?? before.lid,
      pushName: pushName ?? before.pushName,
      pictureUrl: before.pictureUrl,
    }
    await record.write({ happening: { what: 'open' }, patch: { ...number, qr: null, reconnectAt: null } })
  }

  async function noteProfile({ pushName, pictureUrl }: EventOf<'profile'>): Promise<void> {
    const { current } = record
    const patch = {
      pushName: pushName ?? current.pushName,
      pictureUrl: pictureUrl === undefined ? current.pictureUrl : pictureUrl,
    }
    if (patch.pushName !== current.pushName || patch.pictureUrl !== current.pictureUrl) await record.write({ patch })
  }

  function onLeaseLost(): void {
    terminate('LEASE_LOST')
  }

  function onJournalFailed(): void {
    terminate(failureOf(journal) ?? 'NOT_DURABLE')
  }

  function terminate(reason: CloseReason): void {
    if (over.signal.aborted) return
    void insistOnClose(reason)
    connection.terminate(reason)
  }

  async function insistOnClose(reason: CloseReason): Promise<void> {
    await clock.sleep(options.closeGraceMs, over.signal).catch(() => {})
    if (over.signal.aborted) return
    onEvent({ type: 'close', reason, detail: 'the provider did not confirm the end' })
  }

  async function closeInPeace(): Promise<void> {
    if (closing || over.signal.aborted) return
    closing = true
    if (watch.phase === 'open') await finishWork()
    void insistOnClose('CLOSED')
    try {
      await connection.close()
    } catch (error) {
      logger.warn('SESSION', 'closing failed; cutting the socket', { error: errorText(error) })
      terminate('CLOSED')
    }
  }

  async function finishWork(): Promise<void> {
    const finished = attachments.map(async (attachment) => attachment.closing?.(context))
    try {
      await within(clock, options.closingMs, Promise.all(finished))
    } catch (error) {
      logger.warn('SESSION', 'closing before all work was finished', { error: errorText(error) })
    }
  }

  /** Makes the rest durable. Resolves to why that failed. */
  async function endJournal(): Promise<JournalError['reason'] | undefined> {
    if (lease.signal.aborted) journal.abandon()
    else await journal.close().catch(() => {})
    return failureOf(journal)
  }
}

function failureOf({ failed }: OpenJournal): JournalError['reason'] | undefined {
  if (!failed.aborted) return undefined
  return failed.reason instanceof JournalError ? failed.reason.reason : 'NOT_DURABLE'
}
