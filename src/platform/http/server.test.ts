import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { errorCatalogue } from '../../kernel/errors.js'
import { silentLogger } from '../../kernel/logger.js'
import { openEventStream } from './live.js'
import { type App, idParam } from './route.js'
import { createHttpServer, type HttpServerOptions } from './server.js'

let database: TestDatabase
let http: TestServer
let key: string
const logged: string[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  http = await createTestServer({
    db: database.db,
    modules: () => [things],
    logger: { ...silentLogger, error: (...line) => void logged.push(JSON.stringify(line)) },
  })
  key = await http.newKey()
})
afterAll(async () => {
  await http?.stop()
  await database?.drop()
})

function things(app: App): void {
  app.post(
    '/api/instances/:id/things',
    {
      config: { scope: 'send' },
      schema: {
        params: z.object({ id: idParam('ins') }),
        querystring: z.object({ limit: z.coerce.number().int().max(200).optional() }),
        body: z.object({
          to: z.string().max(5),
          list: z.array(z.object({ 'a/b': z.number() })).optional(),
          kind: z.union([z.object({ text: z.string() }), z.object({ image: z.object({ link: z.url() }) })]).optional(),
          free: z.unknown().optional(),
        }),
        response: { 201: z.object({ id: z.string() }) },
      },
    },
    async (request, reply) =>
      reply.code(201).send({ id: request.params.id, secret: 'not in the schema' } as { id: string }),
  )
  app.get('/api/instances/:id/broken', { config: { scope: 'read' } }, async () => {
    throw new Error('the password is hunter2')
  })
  app.get('/api/instances/:id/lost', { config: { scope: 'read' } }, async () => {
    throw Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:5432'), { code: 'ECONNREFUSED' })
  })
  app.get(
    '/api/instances/:id/wrong',
    { config: { scope: 'read' }, schema: { response: { 200: z.object({ n: z.number() }) } } },
    async () => {
      return { n: 'seven' } as unknown as { n: number }
    },
  )
  app.get('/api/live', { config: { scope: 'read' } }, async (request, reply) => {
    const stream = openEventStream(request, reply, { heartbeatMs: 20 })
    stream.send({ id: '7', event: 'message.received', data: { after: request.headers['last-event-id'] ?? null } })
  })
  app.get('/api/whoami', { config: { scope: 'read' } }, async ({ auth, traceId }) => ({ ...auth, traceId }))
}

const INSTANCE = 'ins_01HWP5WYHVFH6RWQRJ6HB7H40J'
const THINGS = `/api/instances/${INSTANCE}/things`
const post = (body: unknown, headers: Record<string, string> = {}) => http.ask('POST', THINGS, { key, body, headers })

describe('a good request', () => {
  it('is answered with what the schema names, and nothing else', async () => {
    const answer = await post({ to: 'a' })
    expect(answer).toMatchObject({ status: 201, json: { id: '018f2c5e-7a3b-7c4d-8e5f-123456789012' } })
    expect(answer.text).not.toContain('secret')
  })

  it('may carry its key in any of three headers', async () => {
    for (const headers of [{ authorization: `bearer ${key}` }, { 'x-api-key': key }, { apikey: key }]) {
      expect((await http.ask('GET', '/api/whoami', { headers })).status).toBe(200)
    }
  })

  it("keeps the caller's trace id", async () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    const answer = await http.ask('GET', '/api/whoami', {
      key,
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    })
    expect(answer.json.traceId).toBe(traceId)
    expect(answer.headers['x-request-id']).toBe(traceId)
  })
})

describe('a bad request gets a problem document that names', () => {
  const cases: [string, () => ReturnType<typeof post>, object][] = [
    ['a missing field', () => post({}), { code: 'invalid_request', errors: [{ pointer: '/to' }] }],
    ['a missing body', () => http.ask('POST', THINGS, { key }), { code: 'invalid_request', errors: [{ pointer: '' }] }],
    ['an empty body', () => post(''), { code: 'invalid_request', errors: [{ pointer: '' }] }],
    [
      'a field within a list',
      () => post({ to: 'a', list: [{ 'a/b': 1 }, { 'a/b': 'x' }] }),
      { code: 'invalid_request', errors: [{ pointer: '/list/1/a~1b' }] },
    ],
    [
      'the closest branch of a union',
      () => post({ to: 'a', kind: { image: { link: 'no' } } }),
      { code: 'invalid_request', errors: [{ pointer: '/kind/image/link' }] },
    ],
    [
      'a field of the query',
      () => http.ask('POST', `${THINGS}?limit=900`, { key, body: { to: 'a' } }),
      { code: 'invalid_request', errors: [{ pointer: '/limit', detail: expect.stringContaining('in the query') }] },
    ],
    [
      'an id of another kind',
      () => http.ask('POST', '/api/instances/msg_01HWP5WYHVFH6RWQRJ6HB7H40J/things', { key, body: { to: 'a' } }),
      { code: 'invalid_request', errors: [{ pointer: '/id', detail: expect.stringContaining('ins_') }] },
    ],
    ['what is not JSON', () => post('{"to": "a",}'), { code: 'invalid_json' }],
    [
      'another content type',
      () => post('to=a', { 'content-type': 'application/x-www-form-urlencoded' }),
      { code: 'unsupported_media_type' },
    ],
    ['a body that is too large', () => post({ to: 'a', free: 'x'.repeat(300_000) }), { code: 'body_too_large' }],
    [
      'a body that is too deep',
      () => post(`{"to":"a","free":${'['.repeat(30)}${']'.repeat(30)}}`),
      { code: 'invalid_request', errors: [{ detail: expect.stringContaining('levels') }] },
    ],
    [
      'an array that is too long',
      () => post({ to: 'a', free: { list: Array.from({ length: 1_001 }, () => 0) } }),
      { code: 'invalid_request', errors: [{ pointer: '/free/list' }] },
    ],
    [
      'a name that reaches a prototype',
      () => post('{"to":"a","free":{"__proto__":{"admin":true}}}'),
      { code: 'invalid_request', errors: [{ pointer: '/free/__proto__' }] },
    ],
    ['an unknown route', () => http.ask('GET', '/api/nothing', { key }), { code: 'route_not_found' }],
    ['an unknown route, without a key', () => http.ask('GET', '/api/nothing'), { code: 'route_not_found' }],
    [
      'a method that the route does not take',
      () => http.ask('PUT', THINGS, { key, body: {} }),
      { code: 'method_not_allowed', detail: 'It takes POST.' },
    ],
    [
      'a path that is not well-formed',
      () => http.ask('GET', '/api/instances/%zz/broken', { key }),
      { code: 'invalid_request' },
    ],
  ]
  it.each(cases)('%s', async (_name, ask, expected) => {
    const answer = await ask()
    expect(answer.json).toMatchObject(expected)
    const { status, title, action } = errorCatalogue[answer.json.code as keyof typeof errorCatalogue]
    expect(answer.json).toMatchObject({ status, title, action, type: `/docs/errors#${answer.json.code}` })
    expect(answer.json.traceId).toMatch(/^[0-9a-f]{32}$/)
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
  })

  it('the methods that a path does take', async () => {
    expect((await http.ask('DELETE', '/api/whoami', { key })).headers.allow).toBe('GET, HEAD')
  })
})

describe('a failure of ours', () => {
  it('is told as internal: the log has the text and the trace id, the caller the trace id only', async () => {
    const answer = await http.ask('GET', `/api/instances/${INSTANCE}/broken`, { key })
    expect(answer).toMatchObject({ status: 500, json: { code: 'internal' } })
    expect(answer.text).not.toContain('hunter2')
    expect(logged.find((line) => line.includes(answer.json.traceId))).toContain('hunter2')
  })

  it('says when the database is away, and when to come again', async () => {
    const answer = await http.ask('GET', `/api/instances/${INSTANCE}/lost`, { key })
    expect(answer).toMatchObject({ status: 503, json: { code: 'database_unavailable', retryAfter: 2 } })
    expect(answer.headers['retry-after']).toBe('2')
    expect(answer.text).not.toContain('10.0.0.7')
  })

  it('is noticed when an answer does not fit its own schema', async () => {
    const answer = await http.ask('GET', `/api/instances/${INSTANCE}/wrong`, { key })
    expect(answer).toMatchObject({ status: 500, json: { code: 'internal' } })
  })
})

describe('a server', () => {
  const build = (module: (app: App) => void, options: Partial<HttpServerOptions> = {}) =>
    createHttpServer({
      ...options,
      logger: silentLogger,
      version: '0',
      host: '127.0.0.1',
      port: 0,
      authenticate: () => Promise.reject(new Error('not asked')),
      idempotency: {
        db: database.db,
        vault: { seal: async (_t, _i, text) => text, open: async (_t, _i, text) => text },
      },
      modules: [module],
    })

  it('does not start with a route that says no scope', () => {
    expect(() => build((app) => void app.get('/api/open', async () => null))).toThrow(/which scope/)
  })

  it('ends a request that does not arrive, but for an upload, which may take its time', async () => {
    const server = build(
      (app) => {
        app.post('/slow', { config: { scope: 'public' } }, async () => 'never')
        app.post('/upload', { config: { scope: 'public', slowBody: true } }, async () => 'here')
      },
      { requestWithinMs: 2_000 },
    )
    await server.start()
    const dial = async (path: string) => {
      const socket = connect(Number(new URL(server.url ?? '').port), '127.0.0.1')
      socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n`)
      const answer = text(socket)
      return { socket, answer }
    }
    const upload = await dial('/upload')
    const slow = await dial('/slow')
    expect(await slow.answer).toMatch(/^HTTP\/1.1 408.*"code":"request_timeout"/s)
    upload.socket.end('{}')
    expect(await upload.answer).toMatch(/^HTTP\/1.1 200.*here$/s)
    await server.stop()
  })

  it('serves on while balancers learn that it leaves, and then takes nothing new', async () => {
    const waits: { readonly ms: number; end(): void }[] = []
    const server = build(
      (app) => {
        app.get('/thing', { config: { scope: 'public' } }, async () => 'here')
        app.get('/stream', { config: { scope: 'public' } }, (request, reply) => void openEventStream(request, reply))
      },
      { drainWaitMs: 5_000, clock: { sleep: (ms) => new Promise((end) => waits.push({ ms, end })) } },
    )
    await server.start()
    const url = server.url ?? ''
    const ask = async (path: string) => {
      const answer = await fetch(`${url}${path}`)
      return [answer.status, answer.headers.get('connection')]
    }
    expect(await ask('/thing')).toEqual([200, 'keep-alive'])
    const stopped = server.stop()
    // The balancer does not know yet: its requests and streams come as before, and their connections end with them.
    expect(waits.map(({ ms }) => ms)).toEqual([5_000])
    expect(await ask('/thing')).toEqual([200, 'close'])
    const stream = await fetch(`${url}/stream`)
    const early = connect(Number(new URL(url).port), '127.0.0.1')
    await once(early, 'connect')
    waits[0]?.end()
    // Streams end; whoever had connected just before is answered, and nobody else.
    expect(await stream.text()).toContain('retry:')
    await expect(fetch(`${url}/thing`)).rejects.toThrow()
    early.write('GET /thing HTTP/1.1\r\nhost: x\r\n\r\n')
    expect(await text(early)).toMatch(/^HTTP\/1.1 200.*here$/s)
    waits[1]?.end()
    await stopped
  })

  it('does not start with a route that an alias shadows', () => {
    expect(() => build((app) => void app.get('/keys', { config: { scope: 'read' } }, async () => null))).toThrow(
      /alias/,
    )
  })
})

describe('on a socket', () => {
  let port: number
  let server: TestServer
  const sockets: Socket[] = []

  beforeAll(async () => {
    server = await createTestServer({ db: database.db, modules: () => [things] })
    await server.server.start()
    port = Number(new URL(server.server.url ?? '').port)
  })
  afterAll(async () => {
    for (const socket of sockets) socket.destroy()
    await server.stop()
  })

  async function dial(): Promise<{ socket: Socket; until(text: string | RegExp): Promise<string> }> {
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString()
    })
    await once(socket, 'connect')
    return {
      socket,
      async until(text) {
        while (!received.match(text)) {
          if (socket.readableEnded || socket.destroyed) throw new Error(`ended before ${text}: ${received}`)
          await Promise.race([once(socket, 'data'), once(socket, 'close')])
        }
        return received
      },
    }
  }

  it('what is no HTTP is answered with a problem document too', async () => {
    const { socket, until } = await dial()
    socket.write('NONSENSE\r\n\r\n')
    expect(await until('traceId')).toMatch(/^HTTP\/1.1 400.*"code":"invalid_request"/s)
  })

  it('headers that are too large are answered with a problem document', async () => {
    const { socket, until } = await dial()
    socket.write(`GET / HTTP/1.1\r\nhost: x\r\nx-large: ${'x'.repeat(20_000)}\r\n\r\n`)
    expect(await until('traceId')).toMatch(/^HTTP\/1.1 431.*"code":"headers_too_large"/s)
  })

  it('an unknown method is answered with a problem document', async () => {
    const { socket, until } = await dial()
    socket.write('PROPFIND /api/whoami HTTP/1.1\r\nhost: x\r\n\r\n')
    expect(await until('traceId')).toMatch(/^HTTP\/1.1 405.*allow: GET, HEAD/is)
  })

  it('an event stream sends events and heartbeats, and ends when the server stops', async () => {
    const { socket, until } = await dial()
    const secret = await server.newKey({ scopes: ['read'] })
    socket.write(`GET /live HTTP/1.1\r\nhost: x\r\nx-api-key: ${secret}\r\nlast-event-id: 6\r\n\r\n`)
    const text = await until(': alive')
    expect(text).toMatch(/content-type: text\/event-stream/)
    expect(text).toContain('id: 7\nevent: message.received\ndata: {"after":"6"}\n\n')
    const idle = await dial()
    const ended = Promise.all([once(socket, 'close'), once(idle.socket, 'close')])
    await server.server.stop()
    await ended
    await expect(dial()).rejects.toThrow()
  })
})
