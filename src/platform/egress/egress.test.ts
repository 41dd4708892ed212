import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { createEgress, type Egress, type EgressOptions } from './http-client.js'
import { createSafeDns } from './safe-dns.js'
import { runSsrfSafety } from './ssrf.safety.js'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanUps.push(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const serve = (listener: RequestListener): Promise<string> => {
  const server = createHttpServer(listener)
  cleanUps.push(() => server.closeAllConnections())
  return listening(server)
}

function egressWith(options: Partial<EgressOptions> = {}): Egress {
  const egress = createEgress({ allow: ['127.0.0.1/32'], clock: systemClock, ...options })
  cleanUps.push(() => egress.close())
  return egress
}

const request = (overrides: { signal?: AbortSignal; timeoutMs?: number } = {}) => ({
  headers: { 'content-type': 'application/json' },
  body: '{"type":"message.received"}',
  signal: new AbortController().signal,
  ...overrides,
})

describe('the egress client', () => {
  it('posts the body and gives back status, headers and body', async () => {
    const url = await serve(async (incoming, answer) => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
      answer.writeHead(202, { 'X-Echo': incoming.headers['content-type'] ?? '' }).end(Buffer.concat(chunks))
    })
    const answer = await egressWith().post(`${url}/hook?a=1`, request())
    expect(answer).toMatchObject({ status: 202, body: '{"type":"message.received"}', truncated: false })
    expect(answer.headers['x-echo']).toBe('application/json')
    expect(answer.durationMs).toBeGreaterThanOrEqual(0)
  })

  it('reads at most 64 kB of an endless answer', async () => {
    const url = await serve((_, answer) => {
      const pump = () => {
        while (answer.write('x'.repeat(16_384)));
      }
      answer.on('drain', pump)
      pump()
    })
    const answer = await egressWith().post(url, request())
    expect(answer).toMatchObject({ status: 200, truncated: true })
    expect(answer.body).toHaveLength(65_536)
  })

  it('reaches a server while as many of its answers are awaited as deliveries may be in flight besides', async () => {
    const url = await serve((incoming, answer) => {
      if (incoming.url === '/quick') answer.end('here')
    })
    const egress = egressWith()
    const given = new AbortController()
    const awaited = Array.from({ length: 63 }, () =>
      egress.post(`${url}/slow`, request({ signal: given.signal })).catch((error: unknown) => error),
    )
    expect(await egress.post(`${url}/quick`, request())).toMatchObject({ status: 200, body: 'here' })
    given.abort()
    await Promise.all(awaited)
  })

  it('does not follow a redirect', async () => {
    const url = await serve((incoming, answer) => {
      answer.writeHead(incoming.url === '/' ? 307 : 200, { location: '/next' }).end()
    })
    expect(await egressWith().post(`${url}/`, request())).toMatchObject({ status: 307 })
  })

  it('gives up when the time is over', async () => {
    const url = await serve(() => {})
    await expect(egressWith().post(url, request({ timeoutMs: 50 }))).rejects.toMatchObject({ code: 'timeout' })
  })

  it('gives up when the time is over in the middle of the answer', async () => {
    const url = await serve((_, answer) => void answer.writeHead(200).write('begun'))
    await expect(egressWith().post(url, request({ timeoutMs: 100 }))).rejects.toMatchObject({ code: 'timeout' })
  })

  it('gives up when the caller does', async () => {
    const caller = new AbortController()
    const url = await serve(() => caller.abort())
    await expect(egressWith().post(url, request({ signal: caller.signal }))).rejects.toMatchObject({ code: 'aborted' })
  })

  it('does not wait for a resolver that never answers', async () => {
    const egress = egressWith({ resolve: () => new Promise(() => {}), connectTimeoutMs: 50 })
    await expect(egress.post('https://silent.test/', request())).rejects.toMatchObject({ code: 'timeout' })
  })

  it('tells a closed port, an unknown name, a broken server, too many headers and missing TLS apart', async () => {
    const closed = createServer()
    const closedUrl = await listening(closed)
    closed.close()
    const garbage = await listening(createServer((socket) => socket.end('SSH-2.0-nothing\r\n')))
    const headers = await serve((_, answer) => answer.writeHead(200, { 'x-large': 'x'.repeat(32_768) }).end())
    const plain = await serve((_, answer) => answer.end())
    const egress = egressWith({ resolve: () => Promise.reject(new Error('ENOTFOUND')) })
    const codeFor = (url: string) =>
      egress.post(url, request()).then(
        () => 'answered',
        (error) => error.code,
      )
    expect(await codeFor(closedUrl)).toBe('connect')
    expect(await codeFor('https://unknown.test/')).toBe('dns')
    expect(await codeFor(garbage)).toBe('protocol')
    expect(await codeFor(headers)).toBe('too_large')
    expect(await codeFor(plain.replace('http:', 'https:'))).toBe('tls')
  })

  it('refuses at registration with a code for the caller, and says nothing of the address', async () => {
    const egress = egressWith({ resolve: async () => ['10.11.12.13'] })
    const refusal = await egress.check('https://inside.test/').catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(AppError)
    expect(refusal).toMatchObject({ code: 'endpoint_url_refused', status: 400 })
    expect((refusal as AppError).message).not.toContain('10.11.12.13')
    await expect(egress.check('ftp://public.test/')).rejects.toMatchObject({ code: 'endpoint_url_refused' })
    await expect(egress.check('https://a:b@public.test/')).rejects.toMatchObject({ code: 'endpoint_url_refused' })
  })

  it('closes before and after use', async () => {
    const egress = egressWith()
    await egress.close()
    await egress.close()
  })
})

describe('safe-dns', () => {
  const rules = { allow: ['192.168.7.0/24', 'fd00:7::/64'], ports: [443, 8443], allowHttp: false }
  const ask = (addresses: string[], target: { port?: number; secure?: boolean } = {}) =>
    createSafeDns(rules, async () => addresses)
      .addressesOf({ hostname: 'name.test', port: 443, secure: true, ...target })
      .then(
        () => 'allowed',
        (error) => error.code,
      )

  it('lets public addresses through, on the usual ports, with TLS', async () => {
    expect(await ask(['93.184.216.34', '2606:4700:4700::1111'])).toBe('allowed')
    expect(await ask(['93.184.216.34'], { port: 22 })).toBe('refused_address')
    expect(await ask(['93.184.216.34'], { secure: false })).toBe('refused_address')
  })

  it('lets the operator allow private ranges, on any port and without TLS', async () => {
    expect(await ask(['192.168.7.9', 'fd00:7::9'], { port: 5000, secure: false })).toBe('allowed')
    expect(await ask(['::ffff:192.168.7.9'], { port: 5000, secure: false })).toBe('allowed')
    expect(await ask(['192.168.8.9'])).toBe('refused_address')
  })

  it('reads through NAT64, where IPv4 is reached that way', async () => {
    expect(await ask(['64:ff9b::5db8:d822'])).toBe('allowed')
    expect(await ask(['64:ff9b::a00:1'])).toBe('refused_address')
  })

  it('refuses when one of several addresses may not be called', async () => {
    expect(await ask(['93.184.216.34', '192.168.8.9'])).toBe('refused_address')
  })
})

it('G13: no spelling, resolver or redirect leads to an address that is not public or allowed', async () => {
  const report = await runSsrfSafety({ seed: 7, rebindings: 150 })
  expect(report).toMatchObject({ leaks: [], forbiddenAccepts: 0, holds: true })
  expect(report.spellings).toBeGreaterThanOrEqual(40)
  expect(report.controlAccepts, 'the listeners can be reached without the guard').toBeGreaterThan(0)
})
