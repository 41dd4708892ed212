/** Files both ways, to a person and in a group, equal to the byte; and everything that can be wrong with them. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg, mp4, pdf, voiceNote, webp } from '../../src/platform/media/testing/samples.js'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import {
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
  TEST_API_KEY,
} from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

const ACCOUNT = '5511999990001'
const ANA = '5511955550001'
const BIA = '5511955550002'
const authorization = `Bearer ${TEST_API_KEY}`

let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let receiver: WebhookReceiver
let mirante: MiranteProcess
let instanceId: string
let group: string
let directory: string
let links: Server
let linked: RequestListener

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mirante-media-e2e-'))
  database = await createEmptyDatabase()
  const caFile = join(directory, 'ca.pem')
  simulator = await launchSimulator(['--latency-ms', '5', '--ca-file', caFile])
  receiver = await startWebhookReceiver()
  const env = { DATABASE_URL: database.url, LOG_LEVEL: 'error', WHATSAPP_CA_FILE: caFile, MEDIA_MAX_MB: '4' }
  mirante = await launchMirante({ simulator, env: { ...env, EGRESS_ALLOW: '127.0.0.0/8' } })
  await simulator.admin('POST', '/admin/contacts', { phones: [ANA, BIA], receipts: 'delivered' })
  instanceId = await pairByQr(mirante, simulator, 'media', ACCOUNT)
  const endpoint = await mirante.api('POST', '/api/webhooks', { body: { url: receiver.url } })
  receiver.trust(endpoint.body.secret)
  const made = await simulator.admin<{ jid: string }>('POST', '/admin/groups', {
    subject: 'files',
    creator: ANA,
    members: [ANA, BIA, ACCOUNT],
  })
  group = made.jid
  links = createServer((request, answer) => linked(request, answer)).listen(0, '127.0.0.1')
  await once(links, 'listening')
})
afterAll(async () => {
  await mirante?.stop()
  await receiver?.stop()
  await simulator?.stop()
  await database?.drop()
  links?.closeAllConnections()
  links?.close()
  rmSync(directory, { recursive: true, force: true })
})

// biome-ignore lint/suspicious/noExplicitAny: each content has its own shape
type Any = any // oxlint-disable-line typescript/no-explicit-any

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')
const bytes = (size: number) => Buffer.concat([pdf(), randomBytes(size)])
const linkTo = (path: string) => `http://127.0.0.1:${(links.address() as AddressInfo).port}${path}`

async function upload(data: Buffer, filename = 'file'): Promise<Any> {
  const form = new FormData()
  form.append('file', new Blob([new Uint8Array(data)]), filename)
  const answer = await fetch(`${mirante.url}/api/media`, { method: 'POST', body: form, headers: { authorization } })
  expect(answer.status).toBe(201)
  return answer.json()
}

async function download(mediaId: string): Promise<string> {
  const answer = await fetch(`${mirante.url}/api/media/${mediaId}`, { headers: { authorization } })
  expect(answer.status).toBe(200)
  return sha256(new Uint8Array(await answer.arrayBuffer()))
}

const post = (body: object) => mirante.api('POST', '/api/messages', { body: { instanceId, to: `+${ANA}`, ...body } })

async function send(body: object): Promise<{ id: string; whatsappId: string }> {
  const answer = await post(body)
  expect(answer).toMatchObject({ status: 202 })
  return answer.body
}

async function shownTo(phone: string, whatsappId: string): Promise<Any> {
  let found: Any
  await eventually(async () => {
    const { messages } = await simulator.admin<Any>('GET', `/admin/contacts/${phone}/inbox?limit=1000`)
    found = messages.find((message: Any) => message.whatsappId === whatsappId)
    return found !== undefined
  }, `${phone} sees ${whatsappId}`)
  return found
}

async function event(type: string, is: (data: Any) => boolean): Promise<Any> {
  const find = () => receiver.verified.find(({ payload }) => payload.type === type && is(payload.data))
  await receiver.waitFor(() => find() !== undefined, type)
  return find()?.payload.data
}

const message = async (id: string): Promise<Any> => (await mirante.api('GET', `/api/messages/${id}`)).body

const loud = Array.from({ length: 150 }, (_, at) => (at % 50 < 25 ? 120 : 10))
const files: [string, () => Promise<Buffer> | Buffer, object, object][] = [
  [
    'image',
    () => jpeg(800, 600),
    { caption: 'look' },
    { type: 'image', media: { caption: 'look', mimeType: 'image/jpeg' } },
  ],
  [
    'video',
    () => mp4(100_000),
    { caption: 'see', gif: true },
    { type: 'video', media: { mimeType: 'video/mp4' }, message: { videoMessage: { gifPlayback: true } } },
  ],
  [
    'audio',
    () => voiceNote(loud),
    {},
    { type: 'audio', media: { mimeType: 'audio/ogg; codecs=opus', voice: false, seconds: 3 } },
  ],
  ['audio', () => voiceNote(loud), { voice: true }, { type: 'voice', media: { voice: true, seconds: 3 } }],
  [
    'document',
    () => bytes(300_000),
    { filename: 'relatório.pdf' },
    { type: 'document', media: { filename: 'relatório.pdf', mimeType: 'application/pdf' } },
  ],
  ['sticker', () => webp(), {}, { type: 'sticker', media: { mimeType: 'image/webp' } }],
]

const places = [
  ['a person', () => `+${ANA}`, () => ({ to: ACCOUNT })],
  ['a group', () => group, () => ({ group: group.replace('@g.us', '') })],
] as const

describe.each(places)('with %s', (_name, to, place) => {
  it.each(files)('%s goes out by upload and by link: %#', async (type, make, said, shown) => {
    const data = await make()
    linked = (_request, answer) => answer.writeHead(200, { 'content-type': 'application/octet-stream' }).end(data)
    const { id: mediaId } = await upload(data)
    for (const source of [{ mediaId }, { link: linkTo('/file') }]) {
      const { id, whatsappId } = await send({ to: to(), type, [type]: { ...source, ...said } })
      const seen = await shownTo(ANA, whatsappId)
      expect(seen).toMatchObject({ ...shown, media: { bytes: data.length, sha256: sha256(data) } })
      await event('message.sent', (told) => told.id === id)
      expect((await message(id)).media).toMatchObject({ state: 'stored', sha256: sha256(data), size: data.length })
    }
  })

  it.each(['image', 'video', 'audio', 'document', 'sticker'])('%s comes in', async (type) => {
    const data = type === 'image' ? await jpeg() : type === 'sticker' ? await webp() : bytes(150_000)
    const said = { type, base64: data.toString('base64'), caption: 'from Ana', filename: 'a.pdf' }
    const { id } = await simulator.admin<{ id: string }>('POST', `/admin/contacts/${ANA}/send`, {
      ...place(),
      media: said,
    })
    const told = await event('message.received', (got) => got.whatsappId === id)
    expect(told).toMatchObject({
      type,
      media: { id: expect.stringMatching(/^med_/), links: { content: expect.any(String) } },
    })
    const ready = await event('media.ready', (got) => got.messageId === told.id)
    expect(ready).toMatchObject({
      id: told.media.id,
      state: 'stored',
      size: data.length,
      sha256: sha256(data),
      instanceId,
    })
    expect(await download(ready.id)).toBe(sha256(data))
    expect((await message(told.id)).media).toMatchObject({ state: 'stored', sha256: sha256(data), error: null })
  })
})

it('what the owner sends on the phone comes in as well', async () => {
  const data = await jpeg()
  const media = { type: 'image', base64: data.toString('base64') }
  const { id } = await simulator.admin<{ id: string }>('POST', `/admin/accounts/${ACCOUNT}/send`, { to: ANA, media })
  const told = await event('message.sent', (got) => got.whatsappId === id)
  const ready = await event('media.ready', (got) => got.messageId === told.id)
  expect(await download(ready.id)).toBe(sha256(data))
})

it('one file for many is given to WhatsApp once', async () => {
  const data = bytes(50_000)
  const { id: mediaId } = await upload(data, 'one.pdf')
  const sent = await Promise.all(
    [ANA, BIA, ANA, BIA].map((phone) => send({ to: `+${phone}`, type: 'document', document: { mediaId } })),
  )
  const phones = [ANA, BIA, ANA, BIA]
  const seen = await Promise.all(sent.map(({ whatsappId }, at) => shownTo(phones[at] ?? '', whatsappId)))
  const paths = seen.map(({ message: { documentMessage } }) => documentMessage.directPath)
  expect(new Set(paths).size).toBe(1)
  expect(seen[0].media).toMatchObject({ filename: 'one.pdf', sha256: sha256(data) })
})

it('a phone that could not read the message asks again, and gets the same file', async () => {
  const data = bytes(40_000)
  const { id: mediaId } = await upload(data)
  await simulator.admin('POST', '/admin/faults', { action: 'garble', contact: ANA })
  const { whatsappId } = await send({ type: 'document', document: { mediaId } })
  expect((await shownTo(ANA, whatsappId)).media).toMatchObject({ sha256: sha256(data), bytes: data.length })
  const { entries } = await simulator.admin<Any>('GET', '/admin/trace?tag=receipt&direction=out&limit=10000')
  const asked = entries.filter(({ attrs }: Any) => attrs.type === 'retry' && attrs.id === whatsappId)
  expect(asked.length).toBeGreaterThan(0)
})

describe('a file that expired', () => {
  it('is asked for again from the phone, and comes', async () => {
    const data = bytes(20_000)
    await simulator.admin('POST', '/admin/media', { retry: 'success' })
    await whileClosed(async () => {
      const media = { type: 'document', base64: data.toString('base64') }
      const { id } = await simulator.admin<{ id: string }>('POST', `/admin/contacts/${ANA}/send`, {
        to: ACCOUNT,
        media,
      })
      await simulator.admin('POST', '/admin/media/expire', { id, status: 410 })
    })
    const ready = await event('media.ready', (got) => got.sha256 === sha256(data))
    expect(await download(ready.id)).toBe(sha256(data))
  })

  it('and that the phone has not got either is told as failed', async () => {
    const data = bytes(21_000)
    await simulator.admin('POST', '/admin/media', { retry: 'not-found' })
    let whatsappId = ''
    await whileClosed(async () => {
      const media = { type: 'document', base64: data.toString('base64') }
      const { id } = await simulator.admin<{ id: string }>('POST', `/admin/contacts/${ANA}/send`, {
        to: ACCOUNT,
        media,
      })
      await simulator.admin('POST', '/admin/media/expire', { id, status: 404 })
      whatsappId = id
    })
    const told = await event('message.received', (got) => got.whatsappId === whatsappId)
    const failed = await event('media.failed', (got) => got.messageId === told.id)
    expect(failed).toMatchObject({ state: 'failed', error: { code: 'media_expired' } })
    expect((await message(told.id)).media).toMatchObject({ state: 'failed', error: { code: 'media_expired' } })
    const gone = await mirante.api('GET', `/api/media/${failed.id}`)
    expect(gone).toMatchObject({ status: 410, body: { code: 'media_unavailable' } })
  })
})

/** What happens meanwhile waits at WhatsApp. */
async function whileClosed(work: () => Promise<void>): Promise<void> {
  await mirante.api('POST', `/api/instances/${instanceId}/disable`)
  await eventually(async () => {
    const { accounts } = await simulator.admin<Any>('GET', '/admin/accounts')
    return accounts.every(({ companions }: Any) => companions.every(({ online }: Any) => !online))
  }, 'the number is away')
  await work()
  await mirante.api('POST', `/api/instances/${instanceId}/enable`)
}

it('too large a file that comes in is told, and the number goes on', async () => {
  const media = { type: 'document', bytes: 5 * 1024 * 1024 }
  const { id } = await simulator.admin<{ id: string }>('POST', `/admin/contacts/${ANA}/send`, { to: ACCOUNT, media })
  const told = await event('message.received', (got) => got.whatsappId === id)
  const failed = await event('media.failed', (got) => got.messageId === told.id)
  expect(failed.error).toEqual({ code: 'media_too_large' })
})

describe('a link that is no good fails its message with the reason, and holds up nobody:', () => {
  const cases: [string, RequestListener, string, string][] = [
    ['missing', (_request, answer) => void answer.writeHead(404).end(), 'image', 'media_link_refused'],
    [
      'a page in place of a picture',
      (_request, answer) => void answer.writeHead(200, { 'content-type': 'image/jpeg' }).end('<html>sign in</html>'),
      'image',
      'media_type_refused',
    ],
    [
      'a lying document',
      async (_request, answer) => void answer.writeHead(200, { 'content-type': 'application/pdf' }).end(await jpeg()),
      'document',
      'media_type_refused',
    ],
    [
      'too large, as it says',
      (_request, answer) => answer.writeHead(200, { 'content-length': 5_000_000_000 }).flushHeaders(),
      'document',
      'media_too_large',
    ],
    ['too large, without saying', (_request, answer) => pump(answer), 'document', 'media_too_large'],
    ['empty', (_request, answer) => void answer.writeHead(200).end(), 'document', 'media_empty'],
    [
      'redirecting inward',
      (_request, answer) => void answer.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data/' }).end(),
      'image',
      'media_link_forbidden',
    ],
    [
      'redirecting to a file of ours',
      (_request, answer) => void answer.writeHead(302, { location: 'file:///etc/passwd' }).end(),
      'document',
      'media_link_forbidden',
    ],
    [
      'redirecting for ever',
      (_request, answer) => void answer.writeHead(302, { location: linkTo('/again') }).end(),
      'image',
      'media_link_forbidden',
    ],
  ]
  it.each(cases)('%s', async (_name, listener, type, code) => {
    linked = listener
    const held = await send({ type, [type]: { link: linkTo('/x') } })
    const next = await send({ type: 'text', text: { body: 'goes on' } })
    await shownTo(ANA, next.whatsappId)
    const failed = await event('message.failed', (told) => told.id === held.id)
    expect(failed).toMatchObject({ status: 'failed', error: { code }, media: { state: 'failed', error: { code } } })
  })

  it('leading inward at once', async () => {
    const held = await send({ type: 'image', image: { link: 'http://10.0.0.1/x.jpg' } })
    expect((await event('message.failed', (told) => told.id === held.id)).error.code).toBe('media_link_forbidden')
  })

  it('breaking off, and then whole: it is fetched again', async () => {
    const data = bytes(100_000)
    let asked = 0
    let goOn = () => {}
    const seenWaiting = new Promise<void>((resolve) => {
      goOn = resolve
    })
    linked = (_request, answer) => {
      asked += 1
      answer.writeHead(200, { 'content-type': 'application/pdf', 'content-length': data.length })
      if (asked > 1) void seenWaiting.then(() => answer.end(data))
      else answer.write(data.subarray(0, 50_000), () => answer.destroy())
    }
    const { id, whatsappId } = await send({ type: 'document', document: { link: linkTo('/broken') } })
    expect(await message(id)).toMatchObject({ status: 'queued', holdReason: 'media', media: { state: 'pending' } })
    goOn()
    expect((await shownTo(ANA, whatsappId)).media.sha256).toBe(sha256(data))
    expect(asked).toBe(2)
  })
})

/** Without end. */
function pump(answer: Parameters<RequestListener>[1]): void {
  answer.writeHead(200)
  const piece = Buffer.alloc(65_536, 1)
  const write = () => {
    while (!answer.destroyed && answer.write(piece));
  }
  answer.on('drain', write)
  write()
}

describe('a message is refused at once', () => {
  it.each<[string, () => Promise<object>, object]>([
    [
      'whose media is unknown',
      async () => ({ type: 'image', image: { mediaId: 'med_01HWP5WYHVFH6RWQRJ6HB7H40J' } }),
      { status: 404, code: 'not_found', errors: [{ pointer: '/image/mediaId' }] },
    ],
    [
      'whose media is of another type',
      async () => ({ type: 'image', image: { mediaId: (await upload(bytes(10))).id } }),
      { status: 415, code: 'media_type_refused' },
    ],
    [
      'whose voice note is none',
      async () => ({ type: 'audio', audio: { voice: true, mediaId: (await upload(mp4())).id } }),
      { status: 415, code: 'media_type_refused' },
    ],
    [
      'with link and media',
      async () => ({ type: 'image', image: { link: 'https://x.test/', mediaId: 'med_1' } }),
      { status: 400, code: 'invalid_request' },
    ],
    [
      'with neither',
      async () => ({ type: 'image', image: { caption: 'x' } }),
      { status: 400, code: 'invalid_request' },
    ],
    [
      'whose link is none',
      async () => ({ type: 'image', image: { link: 'ftp://x.test/' } }),
      { status: 400, code: 'invalid_request' },
    ],
  ])('%s', async (_name, body, expected) => {
    expect((await post(await body())).body).toMatchObject(expected)
  })
})
