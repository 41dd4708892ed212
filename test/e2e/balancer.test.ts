/**
 * deploy/nginx before servers that do what no Mirante should: break connections. What a balancer does with Mirante itself
 * under kills is test/chaos/g20-balancer.ts.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, get, type RequestListener, request, type Server } from 'node:http'
import { request as secureRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, it } from 'vitest'
import { describeWithDebian } from '../support/describe-with-debian.js'
import { type Nginx, type NginxOptions, startNginx } from '../support/servers/nginx.js'

const started: { stop(): Promise<unknown> }[] = []
const directory = mkdtempSync(join(tmpdir(), 'mirante-tls-'))
afterEach(async () => {
  for (const { stop } of started.splice(0).reverse()) await stop()
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A server that answers with its name and what came. */
const answering = (name: string): RequestListener =>
  async function answer(request, response) {
    let bytes = 0
    for await (const chunk of request) bytes += chunk.length
    response.end(JSON.stringify({ name, method: request.method, url: request.url, headers: request.headers, bytes }))
  }

/** Takes the whole request, and then breaks the connection: whoever sent it cannot know whether it was done. */
function breaking(taken: string[]): RequestListener {
  return (request) => {
    request.resume().once('end', () => {
      taken.push(request.method ?? '')
      request.socket.destroy()
    })
  }
}

async function serve(listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  started.push({
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function balance(options: NginxOptions): Promise<Nginx> {
  const nginx = await startNginx(options)
  started.push(nginx)
  return nginx
}

const GONE = '127.0.0.1:1'
const KEYED = { 'idempotency-key': 'one' }

describeWithDebian(['nginx'], 'the balancer of deploy/nginx', () => {
  it.each(['GET', 'POST', 'PATCH', 'DELETE'])(
    'passes %s on to another replica when one cannot be reached',
    async (method) => {
      const { url } = await balance({ replicas: [GONE, GONE, await serve(answering('third'))] })
      for (let turn = 0; turn < 3; turn++) {
        const answer = await fetch(`${url}/api/messages`, { method })
        expect(await answer.json()).toMatchObject({ name: 'third', method })
      }
    },
  )

  it.each([
    ['GET', {}, 200],
    ['DELETE', {}, 200],
    ['POST', KEYED, 200],
    ['PATCH', KEYED, 200],
    ['POST', {}, 502],
    ['PATCH', {}, 502],
  ] as const)('a %s with %o that broke after it was sent ends with %d', async (method, headers, status) => {
    const taken: string[] = []
    const broken = await serve(breaking(taken))
    const { url } = await balance({ replicas: [broken, await serve(answering('second'))] })
    const answer = await fetch(`${url}/api/messages`, { method, headers })
    expect(answer.status).toBe(status)
    expect(taken).toEqual([method])
  })

  it('does not ask a second replica when the first has answered, whatever it says', async () => {
    const asked: string[] = []
    const unavailable: RequestListener = (_request, response) => {
      asked.push('asked')
      response.writeHead(503).end('away')
    }
    const { url } = await balance({ replicas: [await serve(unavailable), await serve(unavailable)] })
    const answer = await fetch(`${url}/api/messages`, { method: 'POST', headers: KEYED })
    expect([answer.status, await answer.text(), asked.length]).toEqual([503, 'away', 1])
  })

  it("keeps the caller's trace, gives one to who has none, and writes it down without numbers of people", async () => {
    const nginx = await balance({ replicas: [await serve(answering('first'))] })
    const given = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    const ask = async (headers: Record<string, string>) => {
      const answer = await fetch(`${nginx.url}/api/chats/5511987654321/messages?q=secret`, { headers })
      const { headers: passed } = (await answer.json()) as { headers: Record<string, string> }
      return passed.traceparent
    }
    expect(await ask({ traceparent: given })).toBe(given)
    for (const made of [await ask({}), await ask({ traceparent: 'nonsense' })])
      expect(made).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    await expect.poll(() => nginx.log().length).toBe(3)
    expect(nginx.log()[0]).toMatchObject({ trace: given, path: '/api/chats/#/messages', status: 200 })
    expect(JSON.stringify(nginx.log())).not.toMatch(/secret|5511987654321/)
  })

  it('passes an upload on while it comes, and anything larger than JSON nowhere else', async () => {
    let seen = 0
    const { url } = await balance({
      replicas: [
        await serve(async (request, response) => {
          let bytes = 0
          for await (const chunk of request) {
            bytes += chunk.length
            seen = bytes
          }
          response.end(String(bytes))
        }),
      ],
    })
    const upload = request(`${url}/api/media`, { method: 'POST', headers: { 'content-length': 3_000_000 } })
    const answered = once(upload, 'response')
    upload.write(Buffer.alloc(1_000_000))
    await expect.poll(() => seen).toBeGreaterThan(0)
    upload.end(Buffer.alloc(2_000_000))
    const [response] = await answered
    expect(response.statusCode).toBe(200)
    const refused = await fetch(`${url}/api/messages`, { method: 'POST', body: Buffer.alloc(3_000_000) })
    expect(refused.status).toBe(413)
  })

  it.each(['/api/live', '/live'])('passes on the events of %s one by one', async (path) => {
    const { url } = await balance({
      replicas: [
        await serve((_request, response) => {
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          response.write('id: 1\n\n')
        }),
      ],
    })
    const stream = get(`${url}${path}`)
    const [response] = await once(stream, 'response')
    const [chunk] = await once(response, 'data')
    expect(String(chunk)).toBe('id: 1\n\n')
    stream.destroy()
  })

  it('goes on with the same pool after its configuration was read anew', async () => {
    const nginx = await balance({ replicas: [await serve(answering('first'))] })
    await nginx.reload()
    expect(await (await fetch(`${nginx.url}/api/cluster`)).json()).toMatchObject({ name: 'first' })
  })

  it('tries again through the one address that Swarm gives', async () => {
    const taken: string[] = []
    // Swarm's address leads to another task each time.
    let turn = 0
    const broken = breaking(taken)
    const good = answering('task')
    const address = await serve((request, response) => (turn++ === 0 ? broken : good)(request, response))
    const { url } = await balance({ pool: 'upstream.swarm.conf', replicas: [address, address, address] })
    const answer = await fetch(`${url}/api/messages`, { method: 'POST', headers: KEYED })
    expect([answer.status, taken]).toEqual([200, ['POST']])
  })

  it('serves by TLS, and sends who comes without on to it', async () => {
    const tls = { certificateFile: join(directory, 'fullchain.pem'), keyFile: join(directory, 'privkey.pem') }
    const self = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=localhost']
    execFileSync('openssl', [...self, '-keyout', tls.keyFile, '-out', tls.certificateFile], { stdio: 'ignore' })
    const { url, tlsUrl } = await balance({ tls, replicas: [await serve(answering('first'))] })
    const secure = secureRequest(`${tlsUrl}/api/cluster`, { rejectUnauthorized: false }).end()
    const [response] = await once(secure, 'response')
    response.resume()
    expect([response.statusCode, response.headers['strict-transport-security']]).toEqual([200, 'max-age=31536000'])
    const sentOn = await fetch(`${url}/api/messages?limit=1`, { method: 'POST', redirect: 'manual' })
    expect([sentOn.status, sentOn.headers.get('location')]).toEqual([308, 'https://127.0.0.1/api/messages?limit=1'])
  })
})
