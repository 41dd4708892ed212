import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Simulation } from '../simulation.js'

/** The token of `media_conn`, which uploads must show. */
export const MEDIA_AUTH = 'sim'

const UPLOAD = /^\/(mms\/(?:image|video|document|audio|md-app-state)|product\/image|pps\/biz-cover-photo)\/([^/]+)$/
const MAX_FILE_BYTES = 512 * 1024 * 1024

/** The media host: takes encrypted files and gives them back. False when the request is for somebody else. */
export function serveMedia(sim: Simulation, request: IncomingMessage, response: ServerResponse): boolean {
  const url = new URL(request.url ?? '/', 'http://simulator')
  const upload = request.method === 'POST' ? UPLOAD.exec(url.pathname) : null
  if (upload) {
    const [, kind = '', hash = ''] = upload
    sim.inBackground(receive(sim, { request, response, kind, hash: decodeURIComponent(hash), query: url.searchParams }))
    return true
  }
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  if (!isRead || !url.pathname.startsWith('/v/')) return false
  send(sim, request, response, url.pathname)
  return true
}

type Upload = {
  request: IncomingMessage
  response: ServerResponse
  kind: string
  hash: string
  query: URLSearchParams
}

/** The hash in the path is that of the body, as the server checks before it keeps anything. */
async function receive(sim: Simulation, { request, response, kind, hash, query }: Upload): Promise<void> {
  const bytes = await readAll(request)
  const { uploadStatus } = sim.media.behaviour
  if (uploadStatus !== null) return json(response, uploadStatus, { error: 'told to fail' })
  if (query.get('auth') !== MEDIA_AUTH) return json(response, 401, { error: 'the auth token is wrong' })
  if (!bytes) return json(response, 413, { error: `the file is longer than ${MAX_FILE_BYTES} bytes` })
  const sum = createHash('sha256').update(bytes).digest('base64url')
  if (sum !== hash.replace(/=+$/, '')) return json(response, 400, { error: 'the body has another hash than the path' })
  const directPath = sim.media.upload(kind.split('/').at(-1) ?? kind, bytes)
  json(response, 200, { url: `https://${sim.mediaHost}${directPath}`, direct_path: directPath })
}

function send(sim: Simulation, request: IncomingMessage, response: ServerResponse, path: string): void {
  const found = sim.media.download(path)
  if ('status' in found) {
    json(response, found.status, { error: 'the file is not here' })
    return
  }
  const { bytes } = found
  const range = rangeOf(request.headers.range, bytes.length)
  if (range === 'wrong') {
    response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
    return
  }
  const [from, to] = range ?? [0, bytes.length - 1]
  response.writeHead(range ? 206 : 200, {
    'content-type': 'application/octet-stream',
    'content-length': to - from + 1,
    'accept-ranges': 'bytes',
    ...(range ? { 'content-range': `bytes ${from}-${to}/${bytes.length}` } : {}),
  })
  response.end(request.method === 'HEAD' ? undefined : bytes.subarray(from, to + 1))
}

/** One range, its last byte included; null when none is asked for. */
function rangeOf(header: string | undefined, length: number): [number, number] | 'wrong' | null {
  if (header === undefined) return null
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header) ?? []
  if (first === undefined || last === undefined || first + last === '') return 'wrong'
  const from = first === '' ? Math.max(0, length - Number(last)) : Number(first)
  const to = first === '' || last === '' ? length - 1 : Math.min(Number(last), length - 1)
  return from > to ? 'wrong' : [from, to]
}

async function readAll(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= MAX_FILE_BYTES) chunks.push(chunk)
  }
  return size <= MAX_FILE_BYTES ? Buffer.concat(chunks) : null
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
