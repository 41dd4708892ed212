import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Simulation } from '../simulation.js'
import { accountRoutes } from './account-routes.js'
import { callRoutes } from './call-routes.js'
import { contactRoutes } from './contact-routes.js'
import { faultRoutes } from './fault-routes.js'
import { groupRoutes } from './group-routes.js'
import { historyRoutes } from './history-routes.js'
import { mediaRoutes } from './media-routes.js'
import { observationRoutes } from './observation-routes.js'
import { PHONE_PAGE } from './phone-page.js'
import { BadInput, matchRoute, type Reply, type Route } from './route.js'

/** Room for a file of 100 MB in base64. */
const MAX_BODY_BYTES = 140 * 1024 * 1024

/** The admin's HTTP: no authentication, any content type, JSON out, a sentence for what is wrong with the input. */
export function createAdminHandler(sim: Simulation) {
  const routes: Route[] = [
    { method: 'GET', path: '/', handle: () => ({ body: { simulator: 'whatsapp', ready: true } }) },
    { method: 'GET', path: '/phone', handle: () => ({ html: PHONE_PAGE }) },
    ...accountRoutes(sim),
    ...contactRoutes(sim),
    ...groupRoutes(sim),
    ...callRoutes(sim),
    ...mediaRoutes(sim),
    ...historyRoutes(sim),
    ...faultRoutes(sim),
    ...observationRoutes(sim),
  ]
  return (request: IncomingMessage, response: ServerResponse): void => {
    void answer(routes, request)
      .catch((error: unknown) => failure(error))
      .then((reply) => write(response, reply))
  }
}

async function answer(routes: Route[], request: IncomingMessage): Promise<Reply> {
  const url = new URL(request.url ?? '/', 'http://simulator')
  const text = await readBody(request)
  const found = matchRoute(routes, request.method ?? 'GET', url.pathname)
  if (!found) return { status: 404, body: { error: `there is no ${request.method} ${url.pathname}` } }
  return found.route.handle({ params: found.params, query: url.searchParams, text, json: () => parseJson(text) })
}

function parseJson(text: string): Record<string, unknown> {
  if (text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Falls through to the same sentence.
  }
  throw new BadInput('the body must be a JSON object')
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new BadInput(`the body is longer than ${MAX_BODY_BYTES} bytes`, 413)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function failure(error: unknown): Reply {
  if (error instanceof BadInput) return { status: error.status, body: { error: error.message } }
  return { status: 500, body: { error: error instanceof Error ? error.message : String(error) } }
}

function write(response: ServerResponse, reply: Reply): void {
  const [type, text] =
    'html' in reply ? ['text/html; charset=utf-8', reply.html] : ['application/json', `${JSON.stringify(reply.body)}\n`]
  response.writeHead(reply.status ?? 200, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}
