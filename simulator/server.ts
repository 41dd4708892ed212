import { createServer as createHttpServer, type Server as HttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createNetServer, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import { WebSocketServer } from 'ws'
import { createAdminHandler } from './admin/http.js'
import { receiveLogin } from './auth/login.js'
import { serveMedia } from './media/media-http.js'
import { dispatch, traceStanza } from './router/dispatch.js'
import { setAvailable } from './router/presence.js'
import type { Simulation } from './simulation.js'
import { type ConnectionHandlers, createConnection } from './wire/connection.js'
import { keyPairFrom } from './wire/curve.js'
import type { TlsIdentity } from './wire/tls-certificate.js'

export type SimulatorServer = { readonly port: number; stop(): Promise<void> }

/** The first byte of every TLS connection: a handshake record. */
const TLS_HANDSHAKE = 0x16

export type ServerOptions = {
  readonly host: string
  readonly port: number
  readonly tls: TlsIdentity
}

/** One port for the websocket of the clients, their media, and the admin's HTTP; each with TLS or without. */
export async function startServer(sim: Simulation, options: ServerOptions): Promise<SimulatorServer> {
  const administrate = createAdminHandler(sim)
  const http = createHttpServer((request, response) => {
    if (!serveMedia(sim, request, response)) administrate(request, response)
  })
  const tls = createTlsServer({ ...options.tls, ALPNProtocols: ['http/1.1'] })
  const door = createDoor(http, tls)
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 * 1024 * 1024 })
  const raw = new Set<Duplex>()
  const accept = createAcceptor(sim)

  door.on('connection', (socket) => {
    raw.add(socket)
    socket.on('close', () => raw.delete(socket))
    socket.setNoDelay(true)
  })
  http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    const faults = sim.faults.take('upgrade', {})
    if (faults.some(({ action }) => action === 'http-503')) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    if (faults.some(({ action }) => action === 'kill')) return socket.destroy()
    const isSilent = faults.some(({ action }) => action === 'no-hello' || action === 'silence')
    const isFalse = faults.some(({ action }) => action === 'bad-certificate')
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('error', () => webSocket.terminate())
      if (isSilent) return
      accept(webSocket, isFalse ? sim.pki.untrustedChain : sim.pki.certificateChain)
    })
  })
  await listen(door, options)
  return {
    port: (door.address() as AddressInfo).port,
    async stop() {
      sim.stop()
      for (const socket of raw) socket.destroy()
      sockets.close()
      await new Promise((resolve) => door.close(resolve))
    },
  }
}

/** Looks at the first byte of a connection and leads it, with all its bytes, to the one who can read them. */
function createDoor(http: HttpServer, tls: TlsServer): Server {
  tls.on('secureConnection', (socket) => http.emit('connection', socket))
  tls.on('tlsClientError', (_error, socket) => socket.destroy())
  return createNetServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('readable', () => {
      const first: Buffer | null = socket.read(1)
      if (!first) return
      socket.unshift(first)
      ;(first[0] === TLS_HANDSHAKE ? tls : http).emit('connection', socket)
    })
  })
}

function createAcceptor(sim: Simulation) {
  let accepted = 0
  const handlers: ConnectionHandlers = {
    onLogin: (connection, payload, key) => receiveLogin(sim, connection, payload, key),
    onNode: (connection, node) => dispatch(sim, connection, node),
    onSent: (connection, node) => traceStanza(sim, connection, node, 'out'),
    onClose: (connection) => {
      sim.connections.delete(connection)
      setAvailable(sim, connection, false)
      if (connection.companion?.connection === connection) connection.companion.connection = null
    },
  }
  return (socket: Parameters<typeof createConnection>[0]['socket'], certificate: Uint8Array) => {
    const id = ++accepted
    sim.stats.connections++
    sim.connections.add(
      createConnection({
        id,
        socket,
        certificate,
        staticKeys: sim.pki.staticKeys,
        ephemeralKeys: keyPairFrom(sim.seeded.bytes(`ephemeral/${id}`, 32)),
        latencyMs: sim.options.latencyMs,
        handlers,
      }),
    )
  }
}

function listen(door: Server, { host, port }: ServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    door.once('error', reject)
    door.listen(port, host, () => {
      door.off('error', reject)
      resolve()
    })
  })
}
