import { Readable } from 'node:stream'
import type { BinaryNode } from 'baileys'
import { expect, it } from 'vitest'
import { createMediaConn } from './media-conn.js'

const { signal } = new AbortController()

/** Media servers as WhatsApp names them; nobody listens there. Answers of null: none came. */
function conn(answers: readonly (readonly string[] | null)[]) {
  const asked: BinaryNode[] = []
  const query = async (node: BinaryNode) => {
    const hosts = answers[Math.min(asked.length, answers.length - 1)]
    asked.push(node)
    if (!hosts) return undefined
    const content = hosts.map((hostname) => ({ tag: 'host', attrs: { hostname } }))
    return { tag: 'iq', attrs: {}, content: [{ tag: 'media_conn', attrs: { auth: 'a', ttl: '60' }, content }] }
  }
  const clock = { now: () => 0 } as Parameters<typeof createMediaConn>[1]['clock']
  return {
    asked,
    media: createMediaConn({ query } as Parameters<typeof createMediaConn>[0], { agent: undefined, clock }),
  }
}

/** The host that was called, by what Node says of the connection that it could not make. */
async function calledBy(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => new Error('it was answered'),
    (thrown: Error) => thrown,
  )
  const cause = error.cause as { address?: string; port?: number } | undefined
  return `${cause?.address}:${cause?.port}`
}

it.each(['169.254.169.254', 'internal.example', '127.0.0.1:1', 'whatsapp.net.example', 'evil-whatsapp.net'])(
  'a host that a message names and WhatsApp does not is never called: %s',
  async (host) => {
    const { media } = conn([['127.0.0.1:9']])
    expect(await calledBy(media.get({ path: '/file', host }, signal))).toBe('127.0.0.1:9')
  },
)

it.each(['//169.254.169.254/x', '/\\169.254.169.254/x'])(
  'a path that leads to another host is not followed: %s',
  async (path) => {
    const { media } = conn([['127.0.0.1:9']])
    await expect(media.get({ path, host: undefined }, signal)).rejects.toMatchObject({ code: 'expired' })
  },
)

it('a host that WhatsApp names now is called', async () => {
  const { media } = conn([['127.0.0.1:9', '127.0.0.1:10']])
  expect(await calledBy(media.get({ path: '/file', host: '127.0.0.1:10' }, signal))).toBe('127.0.0.1:10')
})

it('a question that was not answered is asked again, not remembered', async () => {
  const { media, asked } = conn([null, ['127.0.0.1:9']])
  const get = () => media.get({ path: '/file', host: undefined }, signal)
  await expect(get()).rejects.toMatchObject({ code: 'unreachable' })
  expect(await calledBy(get())).toBe('127.0.0.1:9')
  await get().catch(() => undefined)
  expect(asked).toHaveLength(2)
})

it('an upload that all servers refuse is tried at those of a fresh answer, and then told', async () => {
  const { media, asked } = conn([['127.0.0.1:9'], ['127.0.0.1:10']])
  const post = media.post({
    path: '/mms/image/x',
    query: (auth) => `auth=${auth}`,
    size: 1,
    body: () => Readable.from([Buffer.of(1)]),
    signal,
  })
  expect(await calledBy(post)).toBe('127.0.0.1:10')
  expect(asked).toHaveLength(2)
})
