/**
 * The HTTP server: Fastify with zod, keys, idempotency and problem documents, so that a feature's route module holds routes
 * and nothing else. Promises: a route that does not say which scope it needs does not start; every error is a problem
 * document; `stop` goes on serving while balancers learn of it, then takes no new connections, ends streams, lets requests
 * finish, and cuts what does not.
 */
import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { Server as NetServer, type Socket } from 'node:net'
import { type FastifyRequest, fastify, type RouteOptions } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { type Clock, systemClock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import type { TenantId } from '../../kernel/ids.js'
import type { Logger } from '../../kernel/logger.js'
import type { Service } from '../../kernel/service.js'
import { canonicalUrl } from './aliases.js'
import { type Authenticate, addAuthentication, authOrNull } from './auth.js'
import { addDraining } from './draining.js'
import { addIdempotency, type IdempotencyOptions } from './idempotency.js'
import { parseJsonBody } from './json-body.js'
import { bringsBody, watchBodies } from './late-bodies.js'
import { addDocs, type WebhookOperations } from './openapi.js'
import { errorHandler, PROBLEM_TYPE, problemOf, sendProblem, toAppError } from './problem.js'
import { addRateLimit, type RateLimitOptions } from './rate-limit.js'
import type { App, Scope } from './route.js'
import { serializerCompiler, validatorCompiler } from './validation.js'

export interface HttpServerOptions {
  readonly logger: Logger
  readonly version: string
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly authenticate: Authenticate
  readonly idempotency: Omit<IdempotencyOptions, 'logger'>
  /** @default no limit */
  readonly rateLimit?: RateLimitOptions | undefined
  /** The routes, module by module. */
  readonly modules: readonly ((app: App) => void)[]
  /** What the OpenAPI document says of the requests that we make. @default nothing */
  readonly webhooks?: WebhookOperations
  /** A request of this tenant that may have changed something is about to be answered. */
  readonly onChange?: (tenantId: TenantId) => void
  /** Whether to believe X-Forwarded-*: true, or the addresses of the proxies. @default false */
  readonly trustProxy?: boolean | string[]
  /** @default 256 kB */
  readonly bodyLimitBytes?: number
  /** For a request to arrive, but for uploads, in ms. @default 30000 */
  readonly requestWithinMs?: number
  /** How long `stop` serves on as before, but for asking each client to close its connection, in ms. @default 0 */
  readonly drainWaitMs?: number
  /** How long `stop` then waits for requests under way, in ms. @default 10000 */
  readonly stopWithinMs?: number
  /** @default the system's */
  readonly clock?: Pick<Clock, 'sleep'>
}

export interface RouteInfo {
  readonly method: string
  /** As declared: `/api/instances/:id`. */
  readonly url: string
  readonly scope: Scope | 'public'
}

export interface HttpServer extends Service {
  readonly app: App
  readonly routes: readonly RouteInfo[]
  /** Where it listens; undefined before `start`. */
  readonly url: string | undefined
}

const BODY_LIMIT_BYTES = 256 * 1024
const HEADERS_WITHIN_MS = 10_000
const REQUEST_WITHIN_MS = 30_000
/** For the whole of an upload, which besides must never pause. */
const UPLOAD_WITHIN_MS = 3_600_000
/** Longer than the minute that balancers keep idle connections: they, not we, should close them. */
const KEEP_ALIVE_MS = 72_000
const STOP_WITHIN_MS = 10_000
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])
/** For the request of a connection that came just before no more were taken. */
const LAST_REQUESTS_MS = 500

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { logger, version, host, port, authenticate, idempotency, modules, stopWithinMs = STOP_WITHIN_MS } = options
  const { drainWaitMs = 0, clock = systemClock } = options
  const draining = new AbortController()
  let isLeaving = false
  const declared: RouteOptions[] = []
  const app = createApp(options)
  const unused = trackUnused(app)
  let url: string | undefined
  let stopping: Promise<void> | undefined

  // One listener for each open stream, which is no leak.
  setMaxListeners(0, draining.signal)
  addDraining(app, draining.signal)
  app.addHook('onRoute', declare)
  // Hooks of every request answer by `done`: each promise costs a turn of the microtasks.
  app.addHook('onSend', (_request, reply, _payload, done) => {
    // Idle connections cannot be told apart from ones about to be used: ask each client to leave with its answer.
    if (isLeaving) reply.header('connection', 'close')
    done()
  })
  addAuthentication(app, authenticate)
  if (options.rateLimit) addRateLimit(app, options.rateLimit)
  if (options.onChange) tellOfChanges(app, options.onChange)
  addIdempotency(app, { ...idempotency, logger })
  addRequestLog(app, logger)
  app.setErrorHandler(errorHandler(logger))
  app.setNotFoundHandler((request, reply) => sendProblem(reply, notFound(request, declared, reply), request.traceId))
  addDocs(app, { version, webhooks: options.webhooks ?? {}, routes: () => declared })
  for (const module of modules) module(app)

  return {
    app,
    get routes() {
      return declared.flatMap(({ method, url, config }) =>
        [method].flat().map((verb) => ({ method: verb, url, scope: config?.scope ?? 'admin' })),
      )
    },
    get url() {
      return url
    },
    async start() {
      url = await app.listen({ host, port })
      logger.info('HTTP', 'listening', { url })
    },
    stop() {
      stopping ??= stop()
      return stopping
    },
  }

  async function stop(): Promise<void> {
    isLeaving = true
    const hasBalancer = drainWaitMs > 0 && url !== undefined
    if (hasBalancer) await clock.sleep(drainWaitMs)
    // Of the listener alone: Node's own closes the idle connections too, and a request may be on its way on one of them.
    NetServer.prototype.close.call(app.server)
    // Streams end now and not before, or their clients would come straight back here.
    draining.abort(new AppError('shutting_down'))
    if (hasBalancer) await clock.sleep(LAST_REQUESTS_MS)
    for (const socket of unused) socket.destroy()
    const cut = setTimeout(() => app.server.closeAllConnections(), stopWithinMs)
    await app.close()
    clearTimeout(cut)
  }

  function declare(route: RouteOptions): void {
    if (!route.config?.scope) throw new Error(`${route.method} ${route.url} does not say which scope it needs`)
    if (canonicalUrl(route.url) !== route.url) throw new Error(`${route.url} is shadowed by an alias: see aliases.ts`)
    declared.push(route)
  }
}

function createApp(options: HttpServerOptions): App {
  const { trustProxy = false, bodyLimitBytes = BODY_LIMIT_BYTES, requestWithinMs = REQUEST_WITHIN_MS } = options
  const app = fastify({
    logger: false,
    bodyLimit: bodyLimitBytes,
    trustProxy,
    requestTimeout: UPLOAD_WITHIN_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    http: { headersTimeout: HEADERS_WITHIN_MS, connectionsCheckingInterval: 2_000 },
    forceCloseConnections: 'idle',
    // Requests that come on open connections while we close are answered as ever, and the connection ends with the answer.
    return503OnClosing: false,
    rewriteUrl: (request) => canonicalUrl(request.url ?? '/'),
    routerOptions: { maxParamLength: 200 },
    genReqId: (request) => traceIdOf(request.headers.traceparent),
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => void sendProblem(reply, toAppError(error), request.id),
  }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.decorateRequest('traceId', {
    getter(this: FastifyRequest) {
      return this.id
    },
  })
  app.removeAllContentTypeParsers()
  // What it throws is answered as an error of the request.
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (_request, body, done) =>
    done(null, parseJsonBody(body)),
  )
  const awaited = watchBodies(requestWithinMs, ({ socket }) =>
    answerBrokenRequest({ code: 'ERR_HTTP_REQUEST_TIMEOUT' }, socket),
  )
  app.addHook('onRequest', (request, reply, done) => {
    if (!request.routeOptions.config.slowBody && bringsBody(request.raw)) awaited.add(request.raw)
    reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff')
    done()
  })
  // The body is here, and parsed.
  app.addHook('preValidation', (request, _reply, done) => {
    awaited.delete(request.raw)
    done()
  })
  app.addHook('onClose', async () => awaited.stop())
  return app
}

/** Before the answer leaves, so that what its receiver asks next comes after. */
function tellOfChanges(app: App, onChange: (tenantId: TenantId) => void): void {
  app.addHook('onSend', (request, _reply, _payload, done) => {
    const auth = SAFE_METHODS.has(request.method) ? null : authOrNull(request)
    if (auth) onChange(auth.tenantId)
    done()
  })
}

/** Connections that have not brought a request yet. Node does not count them as idle, and would wait for them. */
function trackUnused(app: App): ReadonlySet<Socket> {
  const unused = new Set<Socket>()
  app.server.on('connection', (socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  app.server.on('request', (request) => unused.delete(request.socket))
  return unused
}

/** The trace id of W3C's traceparent where the caller has one, so that its traces and our logs meet. */
function traceIdOf(traceparent: string | string[] | undefined): string {
  const given = typeof traceparent === 'string' ? /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(traceparent)?.[1] : undefined
  return given ?? randomUUID().replaceAll('-', '')
}

function addRequestLog(app: App, logger: Logger): void {
  app.addHook('onResponse', (request, reply, done) => {
    logger.debug('HTTP', 'answered', {
      traceId: request.id,
      method: request.method,
      route: request.routeOptions.url,
      status: reply.statusCode,
      durationMs: Math.round(reply.elapsedTime),
    })
    done()
  })
}

/** 405 where the path exists under another method, 404 otherwise. */
function notFound(
  request: FastifyRequest,
  declared: readonly RouteOptions[],
  reply: { header(name: string, value: string): unknown },
): AppError {
  const path = (request.url.split('?')[0] ?? '').split('/')
  const methods = declared.filter(({ url }) => matches(url.split('/'), path)).flatMap(({ method }) => method)
  if (methods.length === 0) return new AppError('route_not_found')
  reply.header('allow', [...new Set(methods)].join(', '))
  return new AppError('method_not_allowed', { detail: `It takes ${[...new Set(methods)].join(', ')}.` })
}

const matches = (pattern: readonly string[], path: readonly string[]): boolean =>
  pattern.length === path.length &&
  pattern.every((part, index) => (part.startsWith(':') ? path[index] !== '' : part === path[index]))

/** What Node could not even read as a request: there is no reply object yet, only the socket. */
function answerBrokenRequest(error: { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const problem = problemOf(brokenRequest(error.code), traceIdOf(undefined))
  const body = JSON.stringify(problem)
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.code}\r\ncontent-type: ${PROBLEM_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

function brokenRequest(code: string | undefined): AppError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new AppError('request_timeout')
  if (code === 'HPE_HEADER_OVERFLOW') return new AppError('headers_too_large')
  return new AppError('invalid_request', { detail: 'This is not a well-formed HTTP request.' })
}
