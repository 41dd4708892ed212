/** Every content but media, out and in, with a person and in groups of both addressings, through the API and the webhook. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jpeg } from '../../src/platform/media/testing/samples.js'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import { launchMirante, launchSimulator, type MiranteProcess, type SimulatorProcess } from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js'

const ACCOUNT = '5511999990001'
const ANA = '5511955550001'
const BIA = '5511955550002'
let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let receiver: WebhookReceiver
let mirante: MiranteProcess
let instanceId: string
let pageUrl: string
const page = createServer(async (request, response) => {
  if (request.url === '/picture') response.setHeader('content-type', 'image/jpeg').end(await jpeg(640, 480))
  else
    response
      .setHeader('content-type', 'text/html')
      .end('<title>Our menu</title><meta name="og:image" content="/picture">')
})
/** By the addressing of the group. */
const groups = new Map<string, string>()

beforeAll(async () => {
  await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
  pageUrl = `http://127.0.0.1:${(page.address() as AddressInfo).port}/`
  database = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '5'])
  receiver = await startWebhookReceiver()
  mirante = await launchMirante({ simulator, env: { DATABASE_URL: database.url, LOG_LEVEL: 'error' } })
  await simulator.admin('POST', '/admin/contacts', { phones: [ANA, BIA], receipts: 'delivered' })
  instanceId = await pairByQr(mirante, simulator, 'contents', ACCOUNT)
  const endpoint = await mirante.api('POST', '/api/webhooks', { body: { url: receiver.url } })
  receiver.trust(endpoint.body.secret)
  for (const addressing of ['lid', 'pn']) {
    const group = await simulator.admin<{ jid: string }>('POST', '/admin/groups', {
      subject: `by ${addressing}`,
      creator: ANA,
      members: [ANA, BIA, ACCOUNT],
      addressing,
    })
    groups.set(addressing, group.jid)
  }
})
afterAll(async () => {
  page.close()
  await mirante?.stop()
  await receiver?.stop()
  await simulator?.stop()
  await database?.drop()
})

// biome-ignore lint/suspicious/noExplicitAny: each content has its own shape
type Any = any // oxlint-disable-line typescript/no-explicit-any

const places = [
  ['a person', () => `+${ANA}`, () => ({ to: ACCOUNT })],
  ['a group by LID', () => groups.get('lid') ?? '', () => ({ group: groups.get('lid')?.replace('@g.us', '') })],
  ['a group by phone', () => groups.get('pn') ?? '', () => ({ group: groups.get('pn')?.replace('@g.us', '') })],
] as const

async function send(body: object): Promise<{ id: string; whatsappId: string }> {
  const answer = await mirante.api('POST', '/api/messages', { body: { instanceId, ...body } })
  expect(answer).toMatchObject({ status: 202 })
  return answer.body
}

/** What Ana's phone shows under this WhatsApp id. */
async function shownToAna(whatsappId: string): Promise<Any> {
  let found: Any
  await eventually(async () => {
    const { messages } = await simulator.admin<Any>('GET', `/admin/contacts/${ANA}/inbox?limit=1000`)
    found = messages.find((message: Any) => message.whatsappId === whatsappId)
    return found !== undefined
  }, `Ana sees ${whatsappId}`)
  return found
}

const say = (from: string, place: object, said: object): Promise<{ id: string }> =>
  simulator.admin('POST', `/admin/contacts/${from}/send`, { ...place, ...said })

/** The data of the event about this WhatsApp id. */
async function told(whatsappId: string, type = 'message.received'): Promise<Any> {
  const find = () =>
    receiver.verified.find(({ payload }) => payload.type === type && payload.data.whatsappId === whatsappId)
  await receiver.waitFor(() => find() !== undefined, `${type} of ${whatsappId}`)
  return find()?.payload.data
}

describe.each(places)('with %s', (_name, to, place) => {
  it.each<[string, object, object]>([
    ['text', { text: { body: 'Olá 👋🏽' } }, { type: 'text', text: 'Olá 👋🏽' }],
    [
      'text',
      { text: { body: `@${BIA} look`, mentions: [`+${BIA}`] } },
      { type: 'text', text: `@${BIA} look`, mentions: [BIA] },
    ],
    [
      'location',
      { location: { latitude: -23.5, longitude: -46.6, name: 'HQ' } },
      {
        type: 'location',
        message: { locationMessage: { degreesLatitude: -23.5, degreesLongitude: -46.6, name: 'HQ' } },
      },
    ],
    [
      'contacts',
      { contacts: [{ name: { formattedName: 'Caio' }, phones: [{ phone: '+5511955550003', waId: '5511955550003' }] }] },
      { message: { contactMessage: { displayName: 'Caio', vcard: expect.stringContaining('waid=5511955550003') } } },
    ],
    [
      'poll',
      { poll: { question: 'When?', options: ['now', 'later'], maxSelections: 1 } },
      { type: 'poll', poll: { question: 'When?', options: ['now', 'later'], selectable: 1 } },
    ],
  ])('sends %s', async (type, content, shown) => {
    const { id, whatsappId } = await send({ to: to(), type, ...content })
    expect(await shownToAna(whatsappId)).toMatchObject(shown)
    await told(whatsappId, 'message.sent')
    const { body } = await mirante.api('GET', `/api/messages/${id}`)
    expect(body).toMatchObject({ type, ...content, direction: 'outbound' })
  })

  it('sends a text with a preview of its link', async () => {
    const link = `${receiver.url.replace('/hook', '')}/page`
    const { whatsappId } = await send({ to: to(), type: 'text', text: { body: `see ${link}`, previewUrl: true } })
    const shown = await shownToAna(whatsappId)
    expect(shown).toMatchObject({ type: 'text', text: `see ${link}` })
    expect(shown.message.extendedTextMessage?.title ?? null).toBeNull()
    const page = await send({ to: to(), type: 'text', text: { body: `see ${pageUrl}`, previewUrl: true } })
    const { extendedTextMessage } = (await shownToAna(page.whatsappId)).message
    expect(extendedTextMessage).toMatchObject({ matchedText: pageUrl, title: 'Our menu' })
    const thumbnail = Buffer.from(extendedTextMessage.jpegThumbnail, 'base64')
    expect(await sharp(thumbnail).metadata()).toMatchObject({ format: 'jpeg', width: 192, height: 144 })
  })

  it('sends an answer, a reaction, an edit and a deletion of its own', async () => {
    const asked = await say(ANA, place(), { text: 'what is it?' })
    const question = await told(asked.id)
    const answer = await send({
      to: to(),
      type: 'text',
      text: { body: 'this' },
      context: { messageId: question.id },
    })
    expect(await shownToAna(answer.whatsappId)).toMatchObject({ replyTo: { id: asked.id, text: 'what is it?' } })

    const reaction = await mirante.api('POST', `/api/messages/${question.id}/reaction`, { body: { emoji: '🎉' } })
    expect(reaction.status).toBe(202)
    expect(await shownToAna(reaction.body.whatsappId)).toMatchObject({ reaction: { id: asked.id, emoji: '🎉' } })

    const edit = await mirante.api('PATCH', `/api/messages/${answer.id}`, { body: { text: { body: 'that' } } })
    expect(edit.status).toBe(202)
    expect(await shownToAna(edit.body.whatsappId)).toMatchObject({ type: 'edit', refersTo: answer.whatsappId })
    expect(await told(answer.whatsappId, 'message.edited')).toMatchObject({ text: { body: 'that' } })

    const deletion = await mirante.api('DELETE', `/api/messages/${answer.id}`)
    expect(deletion.status).toBe(202)
    expect(await shownToAna(deletion.body.whatsappId)).toMatchObject({ refersTo: answer.whatsappId })
    expect(await told(answer.whatsappId, 'message.deleted')).toMatchObject({ deletedAt: expect.any(String) })
    const again = await mirante.api('PATCH', `/api/messages/${answer.id}`, { body: { text: { body: 'no' } } })
    expect(again).toMatchObject({ status: 409, body: { code: 'message_not_eligible' } })
  })

  it('votes, and reads votes', async () => {
    const poll = await say(ANA, place(), { poll: { question: 'Who?', options: ['you', 'I'], selectable: 1 } })
    const asked = await told(poll.id)
    expect(asked).toMatchObject({ type: 'poll', poll: { question: 'Who?', options: ['you', 'I'], maxSelections: 1 } })
    const vote = await mirante.api('POST', `/api/messages/${asked.id}/vote`, { body: { options: ['you'] } })
    expect(vote.status).toBe(202)
    expect(await shownToAna(vote.body.whatsappId)).toMatchObject({ vote: { pollId: poll.id, options: ['you'] } })

    const ours = await send({
      to: to(),
      type: 'poll',
      poll: { question: '?', options: ['a', 'b', 'c'], maxSelections: 0 },
    })
    await shownToAna(ours.whatsappId)
    const cast = await say(ANA, place(), { vote: { pollId: ours.whatsappId, options: ['a', 'c'] } })
    expect(await told(cast.id)).toMatchObject({
      type: 'vote',
      vote: { messageId: ours.id, options: ['a', 'c'] },
      context: { messageId: ours.id, whatsappId: ours.whatsappId },
    })
  })

  it.each<[string, object, object]>([
    ['text', { text: 'Oi \u{1F1E7}\u{1F1F7}' }, { type: 'text', text: { body: 'Oi \u{1F1E7}\u{1F1F7}' } }],
    ['mentions', { text: `@${ACCOUNT}`, mentions: [ACCOUNT] }, { text: { mentions: [expect.stringMatching(/@/)] } }],
    [
      'a place',
      { location: { latitude: 1.5, longitude: 2.5, name: 'There' } },
      { type: 'location', location: { latitude: 1.5, longitude: 2.5, name: 'There' } },
    ],
    [
      'a card',
      { contacts: [{ name: 'Caio', phone: '5511955550003' }] },
      { type: 'contacts', contacts: [{ name: { formattedName: 'Caio' }, phones: [{ waId: '5511955550003' }] }] },
    ],
  ])('receives %s', async (_what, said, expected) => {
    const { id } = await say(ANA, place(), said)
    const data = await told(id)
    expect(data).toMatchObject({ ...expected, direction: 'inbound', status: 'received' })
    const isGroup = 'group' in place()
    expect(data.chat.groupJid).toBe(isGroup ? to() : null)
    expect(data.sender?.phone ?? data.chat.phone).toBe(`+${ANA}`)
  })

  it('receives an answer, a reaction, an edit and a deletion', async () => {
    const { id: messageId, whatsappId } = await send({ to: to(), type: 'text', text: { body: 'first' } })
    await shownToAna(whatsappId)
    const answer = await say(ANA, place(), { text: 'second', replyTo: { id: whatsappId } })
    expect(await told(answer.id)).toMatchObject({ text: { body: 'second' }, context: { messageId, whatsappId } })
    const reaction = await say(ANA, place(), { reaction: { id: whatsappId, emoji: '❤️' } })
    expect(await told(reaction.id)).toMatchObject({ type: 'reaction', reaction: { messageId, emoji: '❤️' } })

    const edit = await say(ANA, place(), { edit: { id: answer.id, text: 'third' } })
    expect(await told(answer.id, 'message.edited')).toMatchObject({
      text: { body: 'third' },
      editedAt: expect.any(String),
    })
    expect(edit.id).not.toBe(answer.id)
    await say(ANA, place(), { delete: { id: answer.id } })
    expect(await told(answer.id, 'message.deleted')).toMatchObject({ deletedAt: expect.any(String) })
  })

  it('marks what it received as read, and shows that it types', async () => {
    const { id } = await say(ANA, place(), { text: 'read me' })
    const { chat } = await told(id)
    const marked = await mirante.api('POST', `/api/chats/${chat.id}/read`)
    expect(marked).toMatchObject({ status: 200, body: { count: expect.any(Number) } })
    expect(marked.body.count).toBeGreaterThan(0)
    await eventually(async () => {
      const { messages } = await simulator.admin<Any>('GET', `/admin/contacts/${ANA}/sent`)
      return messages.find((message: Any) => message.whatsappId === id || message.id === id)?.state === 'read'
    }, 'Ana sees that it was read')
    expect(await mirante.api('POST', `/api/chats/${chat.id}/read`)).toMatchObject({ body: { count: 0 } })
    expect(await mirante.api('POST', `/api/chats/${chat.id}/typing`, { body: {} })).toMatchObject({ status: 204 })
    await eventually(async () => {
      const shown = await simulator.admin<Any>('GET', '/admin/trace?tag=chatstate&direction=in&limit=100')
      return shown.entries.length > 0
    }, 'WhatsApp hears that we type')
  })
})

describe('the status', () => {
  it('of others is received with its author, and ours is seen by who has written to us', async () => {
    const { id } = await say(ANA, { status: true }, { text: 'At the beach' })
    expect(await told(id)).toMatchObject({
      text: { body: 'At the beach' },
      chat: { groupJid: 'status@broadcast' },
      sender: { phone: `+${ANA}` },
    })
    await told((await say(ANA, { to: ACCOUNT }, { text: 'hi' })).id)
    const { whatsappId } = await send({ to: 'status@broadcast', type: 'text', text: { body: 'Open today' } })
    expect(await shownToAna(whatsappId)).toMatchObject({ type: 'text', text: 'Open today' })
  })
})
