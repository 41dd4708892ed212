/** A closed-loop HTTP load with as little of the machine as possible: raw sockets, prepared bytes. */
import { connect, type Socket } from 'node:net'

export interface RawLoad {
  readonly port: number
  readonly connections: number
  readonly durationMs: number
  /** The body of request number n. */
  readonly body: (index: number) => string
  readonly headers: (index: number) => Readonly<Record<string, string>>
  readonly path: string
}

export interface RawResult {
  /** Answers by status. */
  readonly statuses: ReadonlyMap<number, number>
  readonly elapsedMs: number
}

export async function rawLoad(load: RawLoad): Promise<RawResult> {
  const statuses = new Map<number, number>()
  const startedAt = performance.now()
  let next = 0
  await Promise.all(
    Array.from({ length: load.connections }, () =>
      caller(load.port, {
        nextRequest: () => (performance.now() - startedAt < load.durationMs ? requestBytes(load, next++) : undefined),
        onAnswer: (status) => statuses.set(status, (statuses.get(status) ?? 0) + 1),
      }),
    ),
  )
  return { statuses, elapsedMs: performance.now() - startedAt }
}

interface Caller {
  readonly nextRequest: () => string | undefined
  readonly onAnswer: (status: number) => void
}

function caller(port: number, { nextRequest, onAnswer }: Caller): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let received = ''
    socket.setEncoding('latin1')
    socket.on('error', reject)
    socket.on('connect', send)
    socket.on('close', () => resolve())
    socket.on('data', (chunk: string) => {
      received += chunk
      const headEnd = received.indexOf('\r\n\r\n')
      if (headEnd < 0) return
      const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0)
      if (received.length < headEnd + 4 + length) return
      onAnswer(Number(received.slice(9, 12)))
      received = ''
      send()
    })
    function send(): void {
      const bytes = nextRequest()
      if (bytes === undefined) socket.end()
      else socket.write(bytes)
    }
  })
}

function requestBytes({ path, headers, body }: RawLoad, index: number): string {
  const content = body(index)
  const lines = Object.entries(headers(index)).map(([name, value]) => `${name}: ${value}`)
  return [
    `POST ${path} HTTP/1.1`,
    'host: 127.0.0.1',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(content)}`,
    ...lines,
    '',
    content,
  ].join('\r\n')
}
