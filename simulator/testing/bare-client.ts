import { Agent } from 'node:https'
import makeWASocket, {
  type AuthenticationCreds,
  type BinaryNode,
  type ConnectionState,
  initAuthCreds,
  type SignalDataSet,
  type SignalKeyStore,
  type UserFacingSocketConfig,
  WA_CERT_DETAILS,
  type WAMessage,
  type WASocket,
} from 'baileys'
import { quietLibsignal } from '../phone/quiet-libsignal.js'

/** Where a client connects to: a simulator of this process, or what another process announced. */
export type ClientTarget = {
  readonly wsUrl: string
  readonly httpUrl: string
  readonly rootPublicKeyHex: string
  /** What uploads trust; without it there are none. */
  readonly caPem?: string
}

/** What a client must keep between connections, in memory. */
export type ClientState = { creds: AuthenticationCreds; readonly keys: SignalKeyStore }

export type BareClientOptions = {
  /** State of an earlier client: it logs in instead of pairing. */
  readonly state?: ClientState
  readonly pushName?: string
  readonly socket?: Partial<UserFacingSocketConfig>
}

/** A plain Baileys client without persistence: the yardstick, and the counterpart in the simulator's own tests. */
export type BareClient = {
  readonly state: ClientState
  readonly socket: WASocket
  readonly messages: WAMessage[]
  readonly updates: { id: string; status: number | null | undefined; stub: string[] }[]
  /** Statuses seen per message id, from upserts and updates alike. */
  statusOf(id: string): number
  /** Shows the QR to the simulated phone, waits for 515 and logs in. Resolves when the connection is open. */
  pair(phone?: string): Promise<void>
  /** Resolves with the QR on show. */
  waitForQr(): Promise<string>
  waitForOpen(): Promise<void>
  /** Resolves with the status code of the next close. */
  waitForClose(): Promise<number>
  /** Resolves when the bytes are handed to the socket, like the library's own call. */
  send(phone: string, text: string, id?: string): Promise<string>
  /** Resolves when the server's ack is there: with '' or with its error code. */
  acked(id: string): Promise<string>
  /** Logs in again with the same state. */
  reconnect(): Promise<void>
  close(): void
}

export function connectBareClient(target: ClientTarget, options: BareClientOptions = {}): BareClient {
  quietLibsignal()
  trustRoot(target.rootPublicKeyHex)
  const state = options.state ?? { creds: initAuthCreds(), keys: createMemoryKeys() }
  const messages: WAMessage[] = []
  const updates: BareClient['updates'] = []
  const statuses = new Map<string, number>()
  const acks = new Map<string, string>()
  const ackWaiters = new Map<string, (error: string) => void>()
  let waiters: ((update: Partial<ConnectionState>) => void)[] = []
  let qr: string | undefined
  let socket = open()

  function open(): WASocket {
    const created = makeWASocket({
      auth: { creds: state.creds, keys: state.keys },
      waWebSocketUrl: target.wsUrl,
      logger: silentLogger(),
      ...(target.caPem ? { fetchAgent: new Agent({ ca: target.caPem }) } : {}),
      ...(options.pushName ? { pushName: options.pushName } : {}),
      ...options.socket,
    } as UserFacingSocketConfig)
    listen(created)
    return created
  }

  function listen(created: WASocket): void {
    created.ev.on('creds.update', (update) => Object.assign(state.creds, update))
    created.ev.on('connection.update', (update) => {
      if (update.qr) qr = update.qr
      for (const waiter of [...waiters]) waiter(update)
    })
    created.ev.on('messages.upsert', ({ messages: arrived }) => {
      for (const message of arrived) {
        messages.push(message)
        // What comes before the own message is flushed is merged into it, and no update follows.
        noteUpdate(message.key.id, message.status, message.messageStubParameters)
        noteStatus(message.key.id, message.status)
      }
    })
    created.ev.on('messages.update', (changes) => {
      for (const { key, update } of changes) {
        noteUpdate(key.id, update.status, update.messageStubParameters)
        noteStatus(key.id, update.status)
      }
    })
    created.ws.on('CB:ack,class:message', ({ attrs }: BinaryNode) => {
      const id = attrs.id ?? ''
      acks.set(id, attrs.error ?? '')
      ackWaiters.get(id)?.(attrs.error ?? '')
    })
  }

  function noteUpdate(id: string | null | undefined, status: number | null | undefined, stub?: string[] | null): void {
    updates.push({ id: id ?? '', status, stub: stub ?? [] })
  }

  function noteStatus(id: string | null | undefined, status: number | null | undefined): void {
    if (id && typeof status === 'number') statuses.set(id, Math.max(status, statuses.get(id) ?? 0))
  }

  function until<T>(pick: (update: Partial<ConnectionState>) => T | undefined): Promise<T> {
    return new Promise((resolve) => {
      const waiter = (update: Partial<ConnectionState>) => {
        const found = pick(update)
        if (found === undefined) return
        waiters = waiters.filter((other) => other !== waiter)
        resolve(found)
      }
      waiters.push(waiter)
    })
  }

  const waitForQr = async () => qr ?? until((update) => update.qr)
  const waitForOpen = async () => {
    await until(({ connection }) => (connection === 'open' ? true : undefined))
  }
  const waitForClose = () =>
    until(({ connection, lastDisconnect }) => (connection === 'close' ? codeOf(lastDisconnect?.error) : undefined))
  const reconnect = async () => {
    socket = open()
    await waitForOpen()
  }

  return {
    state,
    messages,
    updates,
    get socket() {
      return socket
    },
    statusOf: (id) => statuses.get(id) ?? -1,
    waitForQr,
    waitForOpen,
    waitForClose,
    reconnect,
    async pair(phone) {
      const shown = await waitForQr()
      const closed = waitForClose()
      const query = phone ? `?phone=${phone}` : ''
      const answer = await fetch(`${target.httpUrl}/admin/mock-phone/scan-qr${query}`, { method: 'POST', body: shown })
      if (!answer.ok) throw new Error(`the simulated phone refused the QR: ${await answer.text()}`)
      const code = await closed
      if (code !== 515) throw new Error(`pairing ended with ${code} instead of 515`)
      await reconnect()
    },
    async send(phone, text, id) {
      const options = id ? { messageId: id } : {}
      const sent = await socket.sendMessage(`${phone}@s.whatsapp.net`, { text }, options)
      return sent?.key.id ?? ''
    },
    acked(id) {
      const known = acks.get(id)
      return known === undefined ? new Promise((resolve) => ackWaiters.set(id, resolve)) : Promise.resolve(known)
    },
    close: () => void socket.end(undefined),
  }
}

/** The library reads the trusted root at each handshake; it is one per process. */
export function trustRoot(rootPublicKeyHex: string): void {
  WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(rootPublicKeyHex, 'hex')
}

/** Signal keys in memory. Values are replaced, never changed: a copy of the map is a snapshot to go back to. */
export function createMemoryKeys(store = new Map<string, unknown>()): SignalKeyStore {
  return {
    get(type, ids) {
      const found: Record<string, never> = {}
      for (const id of ids) {
        const value = store.get(`${type}/${id}`)
        if (value !== undefined && value !== null) found[id] = value as never
      }
      return found
    },
    set(data: SignalDataSet) {
      for (const [type, entries] of Object.entries(data)) {
        for (const [id, value] of Object.entries(entries ?? {})) {
          if (value === null) store.delete(`${type}/${id}`)
          else store.set(`${type}/${id}`, value)
        }
      }
    },
  }
}

function codeOf(error: unknown): number {
  return (error as { output?: { statusCode?: number } } | undefined)?.output?.statusCode ?? 0
}

function silentLogger() {
  const ignore = () => undefined
  const logger = { level: 'silent', trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore }
  return { ...logger, child: silentLogger }
}
