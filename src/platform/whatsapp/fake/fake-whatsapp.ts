/**
 * A provider without WhatsApp: the test says what happens on each connection. It keeps the port's rules (events in order and
 * after the call that caused them, one `close` that ends everything, a send waits for the journal), but there is nobody on
 * its other side, so it does not run the contract, which needs a world to write to: that is the simulator's.
 */
import type { CloseReason } from '../close-reason.js'
import { GroupRefused, refusingGroups } from '../group.js'
import type {
  BlockChange,
  Connection,
  ConnectionEvent,
  ConnectOptions,
  NumberCheck,
  OutboundMessage,
  Provider,
} from '../whatsapp.js'
import { PairingRefused, SendError } from '../whatsapp.js'

export interface FakeWhatsapp {
  readonly provider: Provider
  /** In the order in which they were begun. */
  readonly connections: readonly FakeConnection[]
  /** Resolves to the connection with this number, counted from 1, once it was begun. */
  connection(number: number): Promise<FakeConnection>
}

export interface FakeConnection {
  readonly options: ConnectOptions
  /** What reached WhatsApp, after it was durable. */
  readonly sent: readonly OutboundMessage[]
  readonly isClosed: boolean
  /** How `close` was asked for: in peace, by cutting, by logging out; undefined when WhatsApp ended it, or nobody did. */
  readonly endedBy: 'close' | 'terminate' | 'logout' | undefined
  /** Numbers (digits) that a pairing code was asked for; the code of each begins with CODE and has its last four digits. */
  readonly codesAsked: readonly string[]
  /** Who was blocked, and who no longer. */
  readonly blocks: readonly BlockChange[]
  /** Ids of calls that were rejected. */
  readonly callsRejected: readonly string[]
  /** From now on WhatsApp refuses pairing codes. */
  refusePairing(): void
  /** From now on WhatsApp does not answer when it is asked for one. */
  hangPairing(): void
  /** Something happens on the socket. After a `close` nothing does. */
  emit(event: ConnectionEvent): void
  /** What WhatsApp says of numbers from now on. Before: that each exists as it was asked for. */
  answerChecks(answer: (waId: string) => NumberCheck): void
  /** From now on, closing, cutting and logging out are never confirmed. */
  hang(): void
}

export function createFakeWhatsapp(): FakeWhatsapp {
  const connections: FakeConnection[] = []
  const waiting: (() => void)[] = []
  let messages = 0

  return {
    provider: {
      name: 'baileys',
      async connect(options) {
        const { fake, connection } = createConnection(options)
        connections.push(fake)
        for (const look of waiting.splice(0)) look()
        return connection
      },
      newWhatsappId: () => `3EB0${String(++messages).padStart(18, '0')}`,
      readRaw: async () => ({ kind: 'other', as: 'fake' }),
    },
    connections,
    async connection(number) {
      for (;;) {
        const connection = connections[number - 1]
        if (connection) return connection
        await new Promise<void>((resolve) => waiting.push(resolve))
      }
    },
  }
}

function createConnection(options: ConnectOptions): { fake: FakeConnection; connection: Connection } {
  const sent: OutboundMessage[] = []
  let isClosed = false
  const codesAsked: string[] = []
  const callsRejected: string[] = []
  const blocks: BlockChange[] = []
  let pairing: 'gives' | 'refuses' | 'hangs' = 'gives'
  let hangs = false
  let endedBy: FakeConnection['endedBy']
  let check: (waId: string) => NumberCheck = (waId) => ({ exists: true, waId })

  const fake: FakeConnection = {
    options,
    sent,
    get isClosed() {
      return isClosed
    },
    get endedBy() {
      return endedBy
    },
    codesAsked,
    callsRejected,
    blocks,
    refusePairing() {
      pairing = 'refuses'
    },
    hangPairing() {
      pairing = 'hangs'
    },
    emit,
    hang() {
      hangs = true
    },
    answerChecks(answer) {
      check = answer
    },
  }
  const connection: Connection = {
    async send(message) {
      if (isClosed) throw new SendError('not_connected', { sent: 'no' })
      const changes = [{ kind: 'session', id: 'peer.0', read: () => Buffer.from(message.whatsappId) }]
      await options.journal.whenDurable(options.journal.append({ changes }))
      if (isClosed) throw new SendError('connection_closed', { sent: 'no' })
      sent.push(message)
      return { at: new Date() }
    },
    checkNumber: async (waId) => check(waId),
    checkNumbers: async (waIds) => waIds.map(check),
    async setBlocked(person, blocked) {
      if (hangs) throw new Error('no answer')
      blocks.push({ person, blocked })
    },
    async rejectCall(callId) {
      if (hangs) return new Promise(() => {})
      callsRejected.push(callId)
    },
    async pairingCode(waId) {
      if (pairing === 'refuses') throw new PairingRefused('429')
      codesAsked.push(waId)
      if (pairing === 'hangs') return new Promise(() => {})
      return `CODE${waId.slice(-4)}`
    },
    markRead: async () => {},
    showActivity: async () => {},
    showPresence: async () => {},
    groups: refusingGroups(async () => {
      throw new GroupRefused(404)
    }),
    logout: () => end('logout', 'LOGOUT'),
    close: () => end('close', 'CLOSED'),
    terminate: (reason) => void end('terminate', reason),
  }
  return { fake, connection }

  function emit(event: ConnectionEvent): void {
    if (isClosed) return
    if (event.type === 'close') isClosed = true
    options.onEvent(event)
  }

  async function end(by: NonNullable<FakeConnection['endedBy']>, reason: CloseReason): Promise<void> {
    endedBy ??= by
    if (hangs) return new Promise(() => {})
    await Promise.resolve()
    emit({ type: 'close', reason, detail: by })
  }
}
