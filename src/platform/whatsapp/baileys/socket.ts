/**
 * One Baileys socket, with what could harm the process or deceive us taken out of it: the only file that reaches into the
 * library's socket.
 * - Bytes go through the gate.
 * - What its handlers reject with is caught here (fault S2: a damaged frame would end the process).
 * - A refused upgrade is noticed (fault S4: Baileys hangs for ever).
 * - New pre-keys are journaled when they are made, not after the frame that hands them out.
 * - Closing does not wait half a minute for a server that no longer answers.
 */
import type { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { BinaryNode, SignalDataSet, SignalKeyStore, UserFacingSocketConfig, WASocket } from 'baileys'
import type WebSocket from 'ws'
import type { Gate, Wire } from './gate.js'
import type { BaileysLibrary } from './load.js'

export interface SocketOptions {
  readonly baileys: BaileysLibrary
  readonly config: UserFacingSocketConfig
  /** The keys given to Baileys in `config`, without its transactions. */
  readonly keys: SignalKeyStore
  readonly makeGate: (wire: Wire) => Gate
  /** Every stanza, before Baileys handles it. */
  readonly onStanza: (stanza: BinaryNode) => void
  /** A frame could not be read or handled. */
  readonly onFault: (error: unknown) => void
  readonly onRefusedUpgrade: (httpStatus: number) => void
}

export interface Socket {
  readonly library: WASocket
  readonly gate: Gate
  /** Cuts the socket now and lets Baileys clean up. */
  cut(): void
  /** Ends the websocket in peace; resolves when it is closed or the server had its time. */
  leave(): Promise<void>
}

/** The websocket client inside Baileys, as far as we use it. */
type Client = EventEmitter & { readonly socket: WebSocket; close: () => Promise<void> }

const OPEN = 1
const CLOSING = 2
/** How long a server may take to answer our closing. */
const LEAVE_MS = 1_000

export function openSocket(options: SocketOptions): Socket {
  const library = options.baileys.makeWASocket(options.config)
  const client = library.ws as unknown as Client
  const websocket = client.socket

  const gate = putGate(websocket, options.makeGate)
  contain(client, options.onFault)
  client.on('frame', (frame: BinaryNode | Uint8Array) => {
    // During the handshake frames are bytes.
    if (!(frame instanceof Uint8Array)) options.onStanza(frame)
  })
  client.on('unexpected-response', (_request: unknown, response: IncomingMessage) => {
    options.onRefusedUpgrade(response.statusCode ?? 0)
  })
  client.close = () => leave(websocket)
  journalPreKeysAtOnce(library, options.keys)
  // Its only listener invents messages for missed calls, outside every error handler.
  library.ev.removeAllListeners('call')

  return {
    library,
    gate,
    cut() {
      websocket.terminate()
      void library.end(undefined).catch(() => undefined)
    },
    leave: () => leave(websocket),
  }
}

function putGate(websocket: WebSocket, makeGate: (wire: Wire) => Gate): Gate {
  const write = websocket.send.bind(websocket) as (bytes: Uint8Array, done: (error?: Error) => void) => void
  const gate = makeGate({
    isOpen: () => websocket.readyState === OPEN,
    bufferedBytes: () => websocket.bufferedAmount,
    write,
  })
  websocket.send = ((bytes: Uint8Array, done?: (error?: Error) => void) => gate.send(bytes, done)) as WebSocket['send']
  return gate
}

/**
 * Wraps what Baileys listens with. A failure while a frame is read or given out ends this socket; one in a handler that had
 * taken its stanza on is the handler's own (a query without an answer, a socket that has closed meanwhile).
 */
function contain(client: Client, onFault: (error: unknown) => void): void {
  for (const event of client.eventNames()) {
    const listeners = client.rawListeners(event)
    client.removeAllListeners(event)
    const onFailure = event === 'message' ? onFault : () => undefined
    for (const listener of listeners) {
      client.on(event, (...values: unknown[]) => {
        const outcome: unknown = listener.apply(client, values)
        if (outcome instanceof Promise) outcome.catch(onFailure)
      })
    }
  }
}

/**
 * Baileys makes pre-keys inside a transaction that it commits after sending them. Written at once, they are in the journal
 * before their frame comes to the gate; reading them inside the transaction finds them in memory.
 */
function journalPreKeysAtOnce({ authState }: WASocket, keys: SignalKeyStore): void {
  const inner = authState.keys
  const setLater = inner.set.bind(inner)
  inner.set = async (data: SignalDataSet) => {
    const { 'pre-key': preKeys, ...rest } = data
    if (preKeys) await keys.set({ 'pre-key': preKeys })
    if (Object.keys(rest).length > 0) await setLater(rest)
  }
}

async function leave(websocket: WebSocket): Promise<void> {
  if (websocket.readyState > CLOSING) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => websocket.terminate(), LEAVE_MS)
    websocket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    websocket.close()
  })
}
