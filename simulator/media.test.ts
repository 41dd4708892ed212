import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import { Agent as HttpsAgent } from 'node:https'
import { type AnyMediaMessageContent, downloadMediaMessage, type WAMessage } from 'baileys'
import { Agent, fetch } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectBareClient } from './testing/bare-client.js'
import { eventually } from './testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from './testing/linked-account.js'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

let linked: LinkedAccount
let contact: string
let dispatcher: Agent

beforeEach(async () => {
  linked = await startLinkedAccount()
  contact = linked.contacts[0] ?? ''
  dispatcher = new Agent({ connect: { ca: linked.simulator.caPem } })
})
afterEach(async () => {
  expect(linked.simulator.problems).toEqual([])
  await dispatcher.close()
  await linked.stop()
})

const download = (message: WAMessage) =>
  downloadMediaMessage(message, 'buffer', { options: { dispatcher } as unknown as RequestInit })
const arrived = (id: string) => eventually(() => linked.client.messages.find(({ key }) => key.id === id))
const httpsUrl = () => linked.simulator.httpUrl.replace('http:', 'https:')

describe('what a client uploads', () => {
  const file = randomBytes(70_000)
  const contents: [string, AnyMediaMessageContent, object][] = [
    ['image', { image: file, caption: 'look', jpegThumbnail: '' }, { caption: 'look', mimeType: 'image/jpeg' }],
    ['video', { video: file, caption: 'see', jpegThumbnail: '' }, { caption: 'see', mimeType: 'video/mp4' }],
    ['audio', { audio: file, mimetype: 'audio/mpeg', seconds: 3 }, { voice: false, seconds: 3 }],
    ['voice', { audio: file, ptt: true, mimetype: 'audio/ogg; codecs=opus', seconds: 2 }, { voice: true, seconds: 2 }],
    ['document', { document: file, mimetype: 'application/pdf', fileName: 'a.pdf' }, { filename: 'a.pdf' }],
    ['sticker', { sticker: file }, { mimeType: 'image/webp' }],
  ]
  it.each(contents)('as %s is downloaded and decrypted by its contact', async (type, content, said) => {
    await linked.client.socket.sendMessage(`${contact}@s.whatsapp.net`, content)
    const shown = await eventually(() => linked.simulator.phones.inbox(contact).messages[0])
    expect(shown).toMatchObject({ type, media: { ...said, bytes: file.length, sha256: sha256(file) } })
  })

  it('is refused when told so', async () => {
    linked.simulator.media.behaviour.uploadStatus = 500
    const sending = linked.client.socket.sendMessage(`${contact}@s.whatsapp.net`, { image: file, jpegThumbnail: '' })
    await expect(sending).rejects.toThrow('Media upload failed on all hosts')
  })

  it('must have the hash it says', async () => {
    const path = `/mms/image/${Buffer.alloc(32).toString('base64url')}?auth=sim&token=x`
    const answer = await fetch(httpsUrl() + path, { dispatcher, method: 'POST', body: file })
    expect(answer.status).toBe(400)
  })
})

describe('what a contact sends', () => {
  const file = randomBytes(70_000)

  it.each(['image', 'video', 'audio', 'document', 'sticker'] as const)(
    'as %s is downloaded by a client',
    async (type) => {
      const { simulator, account } = linked
      const id = await simulator.phones.write(contact, { to: account }, { media: { type, content: file } })
      const message = await arrived(id)
      expect(sha256((await download(message)) as Buffer)).toBe(sha256(file))
    },
  )

  it('is read in ranges', async () => {
    const { simulator, account } = linked
    const id = await simulator.phones.write(contact, { to: account }, { media: { type: 'video', content: file } })
    const { message } = await arrived(id)
    const url = message?.videoMessage?.url ?? ''
    const whole = Buffer.from(await (await fetch(url, { dispatcher })).arrayBuffer())
    const part = await fetch(url, { dispatcher, headers: { range: 'bytes=16-47' } })
    expect(part.status).toBe(206)
    expect(part.headers.get('content-range')).toBe(`bytes 16-47/${whole.length}`)
    expect(Buffer.from(await part.arrayBuffer())).toEqual(whole.subarray(16, 48))
    const rest = await fetch(url, { dispatcher, headers: { range: `bytes=${whole.length - 3}-` } })
    expect(Buffer.from(await rest.arrayBuffer())).toEqual(whole.subarray(-3))
    const beyond = await fetch(url, { dispatcher, headers: { range: `bytes=${whole.length}-` } })
    expect(beyond.status).toBe(416)
  })

  it('expires, and is uploaded again by the phone when the client asks', async () => {
    const { simulator, client, account } = linked
    const id = await simulator.phones.write(contact, { to: account }, { media: { type: 'image', content: file } })
    const message = await arrived(id)
    expect(simulator.media.expire(id)).toBe(1)
    await expect(download(message)).rejects.toThrow()
    // The library names the public media host until it has asked for this one.
    await client.socket.refreshMediaConn()
    const renewed = await client.socket.updateMediaMessage(message)
    expect(sha256((await download(renewed)) as Buffer)).toBe(sha256(file))
  })

  it('expires, and the phone has not got it either', async () => {
    const { simulator, client, account } = linked
    const id = await simulator.phones.write(contact, { to: account }, { media: { type: 'image', content: file } })
    const message = await arrived(id)
    simulator.media.expire(id, 404)
    simulator.media.behaviour.retry = 'not-found'
    await expect(client.socket.updateMediaMessage(message)).rejects.toThrow('Failed to re-upload media')
  })
})

describe('the one port', () => {
  it('takes a client whose websocket is encrypted by TLS too', async () => {
    const { simulator } = linked
    const agent = new HttpsAgent({ ca: simulator.caPem })
    const client = connectBareClient({ ...simulator, wsUrl: simulator.wssUrl }, { pushName: 'Bia', socket: { agent } })
    await client.pair()
    expect(await client.acked(await client.send(contact, 'sealed twice'))).toBe('')
    await eventually(() => simulator.phones.inbox(contact).messages[0]?.text === 'sealed twice')
    client.close()
  })

  it('speaks with TLS and without, by a certificate that the seed decides', async () => {
    const answer = await fetch(httpsUrl(), { dispatcher })
    expect(await answer.json()).toMatchObject({ ready: true })
    expect((await fetch(linked.simulator.httpUrl)).status).toBe(200)
    const local = await fetch(httpsUrl().replace('127.0.0.1', 'localhost'), { dispatcher })
    expect(local.status).toBe(200)
    await expect(fetch(httpsUrl())).rejects.toThrow()
    const certificate = new X509Certificate(linked.simulator.caPem)
    expect(certificate.verify(certificate.publicKey)).toBe(true)
  })
})

describe('a file to be opened once', () => {
  const media = { type: 'image', content: 2_000 } as const

  it('stays on the phone: a stock client is told that it came', async () => {
    const { simulator, account } = linked
    const id = await simulator.phones.write(contact, { to: account }, { media: { ...media, viewOnce: true } })
    const told = await arrived(id)
    expect(told).toMatchObject({ key: { isViewOnce: true } })
    expect(told.message).toBeFalsy()
  })

  it('comes whole from a phone of before', async () => {
    const { simulator, account } = linked
    const id = await simulator.phones.write(contact, { to: account }, { media: { ...media, viewOnce: 'everywhere' } })
    expect(await download(await arrived(id))).toHaveLength(2_000)
  })

  it('that a client sends is shown as one', async () => {
    const content = { image: randomBytes(2_000), viewOnce: true, jpegThumbnail: '' }
    await linked.client.socket.sendMessage(`${contact}@s.whatsapp.net`, content)
    const shown = await eventually(() => linked.simulator.phones.inbox(contact).messages[0])
    expect(shown).toMatchObject({ type: 'image', viewOnce: true, media: { bytes: 2_000 } })
  })
})
