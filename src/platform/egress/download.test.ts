import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.js'
import { createEgress, type Egress } from './http-client.js'

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanUps.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** May call the test's own server and nothing else that is not public. */
function egress(): Egress {
  const made = createEgress({ allow: ['127.0.0.1/32'], clock: systemClock, allowHttp: true })
  cleanUps.push(() => made.close())
  return made
}
const request = (idleMs = 15_000) => ({ headers: {}, signal: new AbortController().signal, idleMs })

describe('a download', () => {
  it('is streamed, over redirects', async () => {
    const data = randomBytes(300_000)
    const url = await serve((incoming, answer) => {
      if (incoming.url === '/a') answer.writeHead(302, { location: '/b' }).end('moved')
      else answer.writeHead(200, { 'content-type': 'image/png' }).end(data)
    })
    const { status, headers, content } = await egress().download(`${url}/a`, request())
    expect([status, headers['content-type']]).toEqual([200, 'image/png'])
    expect(await buffer(content)).toEqual(data)
  })

  it('follows no redirect to an address that may not be called, however it is spelled', async () => {
    const inward = [
      ...['http://169.254.169.254/latest/meta-data/', 'http://2852039166/', 'http://0xa9fea9fe/', 'http://10.1.2.3/'],
      ...['http://192.168.0.1:8080/', 'http://[::1]/', 'http://[::ffff:10.1.2.3]/', 'https://100.64.0.1/'],
    ]
    const asked: string[] = []
    const url = await serve((incoming, answer) => {
      asked.push(incoming.url ?? '')
      const at = Number(incoming.url?.slice(1))
      answer.writeHead(302, { location: inward[at] ?? '' }).end()
    })
    const client = egress()
    for (const at of inward.keys()) {
      await expect(client.download(`${url}/${at}`, request()), inward[at]).rejects.toMatchObject({
        name: 'EgressError',
      })
    }
    expect(asked).toHaveLength(inward.length)
  })

  it.each(['file:///etc/passwd', 'gopher://127.0.0.1/', 'http://user:secret@127.0.0.1/', 'https://'])(
    'follows no redirect to %s',
    async (location) => {
      const url = await serve((_, answer) => void answer.writeHead(302, { location }).end())
      await expect(egress().download(url, request())).rejects.toMatchObject({ code: 'refused_url' })
    },
  )

  it('ends a chase of redirects', async () => {
    let asked = 0
    const url = await serve((_, answer) => {
      asked += 1
      answer.writeHead(302, { location: `/${asked}` }).end()
    })
    await expect(egress().download(url, request())).rejects.toMatchObject({ code: 'refused_url' })
    expect(asked).toBe(6)
  })

  it('tells when the answer breaks off, stalls, or is given up', async () => {
    const url = await serve((incoming, answer) => {
      answer.writeHead(200, { 'content-length': 100 })
      answer.write('half', () => incoming.url === '/broken' && answer.destroy())
    })
    const client = egress()
    const broken = await client.download(`${url}/broken`, request())
    await expect(buffer(broken.content)).rejects.toMatchObject({ name: 'EgressError' })
    const stalled = await client.download(`${url}/stalled`, request(1_000))
    await expect(buffer(stalled.content)).rejects.toMatchObject({ code: 'timeout' })
    const stopping = new AbortController()
    const left = await client.download(`${url}/left`, { headers: {}, signal: stopping.signal })
    stopping.abort()
    await expect(buffer(left.content)).rejects.toMatchObject({ code: 'aborted' })
  })
})
