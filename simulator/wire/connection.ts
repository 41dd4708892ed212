import { proto } from 'baileys'
import type { WebSocket } from 'ws'
import type { LinkCode } from '../auth/pairing-code.js'
import type { Companion } from '../world/world.js'
import type { KeyPair } from './curve.js'
import { createFrameReader, encodeFrame } from './framing.js'
import { type BinaryNode, decodeNode, encodeNode } from './node-codec.js'
import { createNoiseResponder, type NoiseResponder, type Transport } from './noise-responder.js'

export type Connection = {
  readonly id: number
  /** Set by login; a registering connection has none. */
  companion: Companion | null
  /** What belongs to this connection alone: the QR refs it was given, the state of its offline delivery. */
  readonly session: ConnectionSession
  readonly isOpen: boolean
  send(node: BinaryNode): void
  /** A server-initiated iq; resolves with the client's result, or with null when the connection ends before. */
  ask(node: BinaryNode): Promise<BinaryNode | null>
  sendGarbage(bytes: Uint8Array): void
  /** Bytes that decrypt well and are no node. */
  sendPlain(bytes: Uint8Array): void
  /** Closes after the latency and `afterMs`, so that the client reads the last stanza before it sees the end. */
  close(afterMs?: number): void
  /** Ends the websocket with this code, and nothing said in WhatsApp's own words. */
  closeSocket(code: number): void
  destroy(): void
  /** The other side vanishes without closing: nothing is read, nothing is answered, TCP stays open. */
  mute(): void
}

export type ConnectionSession = {
  pushName: string
  registration: proto.ClientPayload.IDevicePairingRegistrationData | null
  refs: string[]
  /** A code that the owner of a number may type on the phone; see auth/pairing-code.ts. */
  linkCode: LinkCode | null
  isActive: boolean
  /** Whether its owner says to be there. */
  isAvailable: boolean
}

export type ConnectionHandlers = {
  onLogin(connection: Connection, payload: proto.ClientPayload, clientStatic: Buffer): void
  onNode(connection: Connection, node: BinaryNode): void
  onSent(connection: Connection, node: BinaryNode): void
  onClose(connection: Connection): void
}

export type ConnectionOptions = {
  id: number
  socket: WebSocket
  staticKeys: KeyPair
  ephemeralKeys: KeyPair
  certificate: Uint8Array
  latencyMs: number
  handlers: ConnectionHandlers
}

const CLOSE_GRACE_MS = 60

export function createConnection(options: ConnectionOptions): Connection {
  const { socket, handlers } = options
  const waiting = new Map<string, (node: BinaryNode | null) => void>()
  const outbox = createOutbox(options.latencyMs)
  let noise: NoiseResponder | null = null
  let transport: Transport | null = null
  let muted = false
  /** The last stanza was said. What still comes is not read, as by a server that has hung up. */
  let ended = false
  let closed = false
  let decoding: Promise<unknown> = Promise.resolve()

  const write = (bytes: Buffer) => {
    if (!muted && socket.readyState === socket.OPEN) socket.send(bytes)
  }
  const writeSealed = (plain: Uint8Array) => {
    if (transport) write(encodeFrame(transport.encrypt(plain)))
  }
  const end = () => {
    if (closed) return
    closed = true
    outbox.clear()
    for (const giveUp of waiting.values()) giveUp(null)
    handlers.onClose(connection)
  }

  const connection: Connection = {
    id: options.id,
    companion: null,
    session: { pushName: '', registration: null, refs: [], linkCode: null, isActive: false, isAvailable: false },
    get isOpen() {
      return !closed
    },
    send(node) {
      if (closed || !transport) return
      const plain = encodeNode(node)
      handlers.onSent(connection, node)
      outbox.push(() => writeSealed(plain))
    },
    ask(node) {
      return new Promise((resolve) => {
        waiting.set(node.attrs.id ?? '', resolve)
        connection.send(node)
      })
    },
    sendGarbage: (bytes) => outbox.push(() => write(encodeFrame(bytes))),
    sendPlain: (bytes) => outbox.push(() => writeSealed(bytes)),
    close(afterMs = CLOSE_GRACE_MS) {
      ended = true
      const timer = setTimeout(() => socket.close(), options.latencyMs + afterMs)
      timer.unref()
    },
    closeSocket: (code) => socket.close(code),
    destroy() {
      socket.terminate()
      end()
    },
    mute() {
      muted = true
    },
  }

  const onHandshake = (body: Buffer) => {
    const { clientHello, clientFinish } = proto.HandshakeMessage.decode(body)
    if (clientHello?.ephemeral && noise) {
      const serverHello = noise.answerHello(clientHello.ephemeral)
      const answer = encodeFrame(proto.HandshakeMessage.encode({ serverHello }).finish())
      outbox.push(() => write(answer))
    }
    if (clientFinish?.static && clientFinish.payload && noise) {
      const finished = noise.finish(clientFinish.static, clientFinish.payload)
      transport = finished.transport
      handlers.onLogin(connection, proto.ClientPayload.decode(finished.payload), finished.clientStatic)
    }
  }
  const onStanza = (node: BinaryNode) => {
    if (muted || ended || closed) return
    const answered = isAnswer(node) ? waiting.get(node.attrs.id ?? '') : undefined
    if (answered) waiting.delete(node.attrs.id ?? '')
    handlers.onNode(connection, node)
    answered?.(node)
  }
  const reader = createFrameReader({
    intro: ({ header }) => {
      noise = createNoiseResponder({ ...options, header })
    },
    frame: (body) => {
      if (!transport) return onHandshake(body)
      // The counter must advance in the order of arrival, before anything is awaited.
      const plain = transport.decrypt(body)
      decoding = decoding.then(() => decodeNode(plain).then(onStanza)).catch(() => connection.destroy())
    },
  })

  socket.on('message', (data: Buffer) => {
    if (muted || closed) return
    try {
      reader.push(data)
    } catch {
      connection.destroy()
    }
  })
  socket.on('close', end)
  socket.on('error', () => connection.destroy())
  return connection
}

function isAnswer(node: BinaryNode): boolean {
  return node.tag === 'iq' && (node.attrs.type === 'result' || node.attrs.type === 'error')
}

type Outbox = { push(write: () => void): void; clear(): void }

/** Every stanza leaves `latencyMs` after it was sent, in order. Without latency it leaves at once. */
function createOutbox(latencyMs: number): Outbox {
  let pending: { due: number; write: () => void }[] = []
  let timer: NodeJS.Timeout | null = null

  const flush = () => {
    timer = null
    const now = performance.now()
    const waiting = pending.findIndex((item) => item.due > now)
    const ready = pending.splice(0, waiting === -1 ? pending.length : waiting)
    for (const item of ready) item.write()
    arm()
  }
  const arm = () => {
    const first = pending[0]
    if (first && !timer) timer = setTimeout(flush, Math.max(0, first.due - performance.now()))
  }
  return {
    push(write) {
      if (latencyMs <= 0) return write()
      pending.push({ due: performance.now() + latencyMs, write })
      arm()
    },
    clear() {
      if (timer) clearTimeout(timer)
      timer = null
      pending = []
    },
  }
}
