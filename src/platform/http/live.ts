/**
 * Server-sent events. Promises: frames go out whole and in order; a reader that falls too far behind is cut off rather than
 * buffered for; the stream ends when the client goes, the caller says so, or the server
 * shuts down. A client comes back with `Last-Event-ID` by itself.
 */
import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../kernel/errors.js'
import { draining } from './draining.js'

export interface StreamedEvent {
  /** What the client sends back as `Last-Event-ID`. */
  readonly id: string
  readonly event: string
  readonly data: unknown
}

export interface EventStream {
  /** False when the stream is over: the client has gone, or was so far behind that it was cut off. */
  send(event: StreamedEvent): boolean
  /** Sets what the client sends back as `Last-Event-ID` without an event, as the standard has it. */
  mark(id: string): void
  /** Aborted when the stream has ended, for whatever reason. */
  readonly closed: AbortSignal
  end(): void
}

export interface EventStreamOptions {
  /** Ends the stream. */
  readonly signal?: AbortSignal
  /** @default 15000 */
  readonly heartbeatMs?: number
}

/** A reader that is so far behind will not catch up; its connection costs memory and nothing else. */
const MAX_BUFFERED_BYTES = 1024 * 1024
/** What browsers wait before they reconnect. */
const RETRY_MS = 2_000

/** Takes the reply over. Nothing may be sent through Fastify afterwards. */
export function openEventStream(
  request: FastifyRequest,
  reply: FastifyReply,
  { signal, heartbeatMs = 15_000 }: EventStreamOptions = {},
): EventStream {
  const serverDrains = draining(request.server)
  if (serverDrains.aborted) throw new AppError('shutting_down')
  reply.hijack()
  const response = reply.raw
  const closed = new AbortController()
  const ends = [serverDrains, ...(signal ? [signal] : [])]
  const heartbeat = setInterval(() => write(': alive\n\n'), heartbeatMs)
  heartbeat.unref()
  response.once('close', onClose)
  for (const end of ends) end.addEventListener('abort', endStream)
  writeHead(response, reply)
  if (ends.some((end) => end.aborted)) endStream()
  return { send, mark: (id) => void write(`id: ${oneLine(id)}\n\n`), closed: closed.signal, end: endStream }

  function send({ id, event, data }: StreamedEvent): boolean {
    return write(`id: ${oneLine(id)}\nevent: ${oneLine(event)}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  function write(frame: string): boolean {
    if (closed.signal.aborted || response.writableEnded) return false
    if (response.writableLength > MAX_BUFFERED_BYTES) {
      response.destroy()
      return false
    }
    response.write(frame)
    return true
  }

  function endStream(): void {
    if (!response.writableEnded) response.end()
  }

  function onClose(): void {
    clearInterval(heartbeat)
    for (const end of ends) end.removeEventListener('abort', endStream)
    closed.abort()
  }
}

function writeHead(response: ServerResponse, reply: FastifyReply): void {
  // What hooks have set (the trace id, security headers) would be lost with the hijacked reply.
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) response.setHeader(name, value)
  }
  // The connection ends with the stream, or it would count as one that may yet be used.
  response.shouldKeepAlive = false
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // Tells nginx not to collect the stream before it passes it on.
    'x-accel-buffering': 'no',
  })
  response.write(`retry: ${RETRY_MS}\n\n`)
}

/** A line break would begin another field. */
const oneLine = (text: string): string => text.replace(/[\r\n]/g, ' ')
