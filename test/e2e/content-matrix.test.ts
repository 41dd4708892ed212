/**
 * Every content there is × out and in × a person, a group by LIDs and a group by numbers: sent as the documentation says,
 * shown by a phone, told to the webhook in a documented shape, files equal to the byte. The table below is of all contents by
 * its type, and the test of it fails for one that is added without a row.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { messageView } from '../../src/features/messages/message-view.js'
import { jpeg, mp4, pdf, voiceNote, webp } from '../../src/platform/media/testing/samples.js'
import { type OutboundContent, outboundContent } from '../../src/platform/whatsapp/content.js'
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
const STATUS = 'status@broadcast'

// biome-ignore lint/suspicious/noExplicitAny: each content has its own shape
type Any = any // oxlint-disable-line typescript/no-explicit-any
type Type = OutboundContent['type']

let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let receiver: WebhookReceiver
let mirante: MiranteProcess
let instanceId: string
let directory: string
/** Contents that the OpenAPI document shows an example of: those that are sent, and those that webhooks bring. */
let documented: { readonly sent: Set<string>; readonly told: Set<string> }
const groups = new Map<string, string>()

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'mirante-matrix-'))
  const caFile = join(directory, 'ca.pem')
  database = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '5', '--ca-file', caFile])
  receiver = await startWebhookReceiver()
  mirante = await launchMirante({
    simulator,
    env: { DATABASE_URL: database.url, LOG_LEVEL: 'error', WHATSAPP_CA_FILE: caFile },
  })
  await simulator.admin('POST', '/admin/contacts', { phones: [ANA, BIA], receipts: 'delivered' })
  instanceId = await pairByQr(mirante, simulator, 'matrix', ACCOUNT)
  receiver.trust((await mirante.api('POST', '/api/webhooks', { body: { url: receiver.url } })).body.secret)
  for (const addressing of ['lid', 'pn']) {
    const wanted = { subject: addressing, creator: ANA, members: [ANA, BIA, ACCOUNT], addressing }
    groups.set(addressing, (await simulator.admin<{ jid: string }>('POST', '/admin/groups', wanted)).jid)
  }
  documented = readDocument((await mirante.api('GET', '/openapi.json')).body)
})
afterAll(async () => {
  await mirante?.stop()
  await receiver?.stop()
  await simulator?.stop()
  await database?.drop()
  rmSync(directory, { recursive: true, force: true })
})

function readDocument(document: Any): typeof documented {
  const bodyOf = ({ post }: Any): Any[] =>
    Object.values(post.requestBody.content['application/json'].examples).map(({ value }: Any) => value)
  const typesOf = (examples: Any[]) => new Set(examples.map(({ type }) => type))
  return {
    sent: typesOf(bodyOf(document.paths['/api/messages'])),
    told: typesOf(bodyOf(document.webhooks['message.received']).map(({ data }) => data)),
  }
}

interface Place {
  readonly name: string
  readonly to: () => string
  /** For the simulator's phones. */
  readonly of: () => object
}
const groupOf = (addressing: string) => groups.get(addressing) ?? ''
const places: readonly Place[] = [
  { name: 'a person', to: () => `+${ANA}`, of: () => ({ to: ACCOUNT }) },
  { name: 'a group by LIDs', to: () => groupOf('lid'), of: () => ({ group: groupOf('lid').replace('@g.us', '') }) },
  { name: 'a group by numbers', to: () => groupOf('pn'), of: () => ({ group: groupOf('pn').replace('@g.us', '') }) },
]

/** What a content is about: a message that was there before, as both sides name it. */
interface Subject {
  readonly messageId: string
  readonly whatsappId: string
}
interface Row {
  readonly file?: () => Promise<Buffer> | Buffer
  /** Whose earlier message it is about, and what that is. */
  readonly about?: { readonly what: 'text' | 'poll'; readonly out: 'own' | 'other'; readonly in: 'own' | 'other' }
  /** The event that tells of it, where it is news of the message that it is about. */
  readonly changes?: 'message.edited' | 'message.deleted'
  readonly sent: (subject: Subject) => object
  readonly shown: (subject: Subject) => object
  readonly said: (subject: Subject) => object
  readonly told: (subject: Subject) => object
}

const loud = Array.from({ length: 150 }, (_, at) => (at % 50 < 25 ? 120 : 10))
const same = { text: { body: 'Olá 👋🏽 \u202Eabc' }, said: 'Olá 👋🏽 \u202Eabc' }
const place = { latitude: -23.5, longitude: -46.6, name: 'HQ' }
const fileRow = (file: NonNullable<Row['file']>, sent: object, shown: object, said: object, told: object): Row => ({
  file,
  sent: () => sent,
  shown: () => ({ media: shown }),
  said: () => ({ media: said }),
  told: () => told,
})

const table: Readonly<Record<Type, Row>> = {
  text: {
    sent: () => same.text,
    shown: () => ({ type: 'text', text: same.said }),
    said: () => ({ text: same.said }),
    told: () => same.text,
  },
  image: fileRow(jpeg, { caption: 'look' }, { caption: 'look' }, { caption: 'seen?' }, { caption: 'seen?' }),
  video: fileRow(mp4, { caption: 'see' }, { mimeType: 'video/mp4' }, { seconds: 3 }, { seconds: 3 }),
  audio: fileRow(() => voiceNote(loud), { voice: true }, { voice: true }, { voice: true }, { voice: true }),
  document: fileRow(
    () => Buffer.concat([pdf(), randomBytes(50_000)]),
    { filename: 'relatório.pdf' },
    { filename: 'relatório.pdf' },
    { filename: 'nota.pdf' },
    { filename: 'nota.pdf' },
  ),
  sticker: fileRow(webp, {}, { mimeType: 'image/webp' }, {}, { mimeType: 'image/webp' }),
  location: {
    sent: () => place,
    shown: () => ({ type: 'location', message: { locationMessage: { degreesLatitude: -23.5, name: 'HQ' } } }),
    said: () => ({ location: place }),
    told: () => place,
  },
  contacts: {
    sent: () => [{ name: { formattedName: 'Caio' }, phones: [{ phone: '+5511955550003', waId: '5511955550003' }] }],
    shown: () => ({ type: 'contacts', message: { contactMessage: { displayName: 'Caio' } } }),
    said: () => ({ contacts: [{ name: 'Caio', phone: '5511955550003' }] }),
    told: () => [{ name: { formattedName: 'Caio' }, phones: [{ waId: '5511955550003' }] }],
  },
  poll: {
    sent: () => ({ question: 'When?', options: ['now', 'later'], maxSelections: 0 }),
    shown: () => ({ type: 'poll', poll: { question: 'When?', options: ['now', 'later'], selectable: 0 } }),
    said: () => ({ poll: { question: 'Who?', options: ['you', 'I'], selectable: 1 } }),
    told: () => ({ question: 'Who?', options: ['you', 'I'], maxSelections: 1 }),
  },
  vote: {
    about: { what: 'poll', out: 'other', in: 'other' },
    sent: ({ messageId }) => ({ messageId, options: ['b'] }),
    shown: ({ whatsappId }) => ({ vote: { pollId: whatsappId, options: ['b'] } }),
    said: ({ whatsappId }) => ({ vote: { pollId: whatsappId, options: ['a'] } }),
    told: ({ messageId }) => ({ messageId, options: ['a'] }),
  },
  reaction: {
    about: { what: 'text', out: 'other', in: 'other' },
    sent: ({ messageId }) => ({ messageId, emoji: '🎉' }),
    shown: ({ whatsappId }) => ({ reaction: { id: whatsappId, emoji: '🎉' } }),
    said: ({ whatsappId }) => ({ reaction: { id: whatsappId, emoji: '❤️' } }),
    told: ({ messageId }) => ({ messageId, emoji: '❤️' }),
  },
  edit: {
    about: { what: 'text', out: 'own', in: 'own' },
    changes: 'message.edited',
    sent: ({ messageId }) => ({ messageId, text: { body: 'second' } }),
    shown: ({ whatsappId }) => ({ type: 'edit', refersTo: whatsappId }),
    said: ({ whatsappId }) => ({ edit: { id: whatsappId, text: 'third' } }),
    told: () => ({ text: { body: 'third' }, editedAt: expect.any(String) }),
  },
  delete: {
    about: { what: 'text', out: 'own', in: 'own' },
    changes: 'message.deleted',
    sent: ({ messageId }) => ({ messageId }),
    shown: ({ whatsappId }) => ({ type: 'delete', refersTo: whatsappId }),
    said: ({ whatsappId }) => ({ delete: { id: whatsappId } }),
    told: () => ({ deletedAt: expect.any(String) }),
  },
}
const types = outboundContent.options.map((option) => option.shape.type.value)
const none: Subject = { messageId: '', whatsappId: '' }

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')

async function post(body: object): Promise<Subject> {
  const answer = await mirante.api('POST', '/api/messages', { body: { instanceId, ...body } })
  expect(answer).toMatchObject({ status: 202 })
  return { messageId: answer.body.id, whatsappId: answer.body.whatsappId }
}

async function upload(data: Buffer): Promise<string> {
  const form = new FormData()
  form.append('file', new Blob([new Uint8Array(data)]), 'file')
  const headers = { authorization: `Bearer ${TEST_API_KEY}` }
  const answer = await fetch(`${mirante.url}/api/media`, { method: 'POST', body: form, headers })
  expect(answer.status).toBe(201)
  return ((await answer.json()) as { id: string }).id
}

async function download(mediaId: string): Promise<string> {
  const headers = { authorization: `Bearer ${TEST_API_KEY}` }
  const answer = await fetch(`${mirante.url}/api/media/${mediaId}`, { headers })
  expect(answer.status).toBe(200)
  return sha256(new Uint8Array(await answer.arrayBuffer()))
}

async function shownToAna(whatsappId: string): Promise<Any> {
  let found: Any
  await eventually(async () => {
    const { messages } = await simulator.admin<Any>('GET', `/admin/contacts/${ANA}/inbox?limit=2000`)
    found = messages.find((message: Any) => message.whatsappId === whatsappId)
    return found !== undefined
  }, `Ana sees ${whatsappId}`)
  return found
}

const say = async (place: object, said: object): Promise<string> =>
  (await simulator.admin<{ id: string }>('POST', `/admin/contacts/${ANA}/send`, { ...place, ...said })).id

/** The data of an event, which has the documented shape and nothing besides. */
async function told(type: string, is: (data: Any) => boolean): Promise<Any> {
  const find = () => receiver.verified.find(({ payload }) => payload.type === type && is(payload.data))
  await receiver.waitFor(() => find() !== undefined, type)
  const data = find()?.payload.data
  if (type.startsWith('message.')) {
    expect(messageView.parse(data)).toEqual(data)
    expect(documented.told).toContain(data.type)
  }
  return data
}
const toldOf = (whatsappId: string, type = 'message.received') => told(type, (data) => data.whatsappId === whatsappId)

/** An earlier message: ours, which Ana has, or Ana's, which we have. */
async function subjectOf(row: Row, by: 'us' | 'Ana', { to, of }: Place): Promise<Subject> {
  if (!row.about) return none
  const isPoll = row.about.what === 'poll'
  if (by === 'us') {
    const content = isPoll
      ? { type: 'poll', poll: { question: '?', options: ['a', 'b'], maxSelections: 1 } }
      : { type: 'text', text: { body: 'first' } }
    const ours = await post({ to: to(), ...content })
    await shownToAna(ours.whatsappId)
    return ours
  }
  const id = await say(
    of(),
    isPoll ? { poll: { question: '?', options: ['a', 'b'], selectable: 1 } } : { text: 'first' },
  )
  return { messageId: (await toldOf(id)).id, whatsappId: id }
}

it('every content has a row, and examples of how it is sent and told', () => {
  expect(Object.keys(table).sort()).toEqual([...types].sort())
  expect([...documented.sent].sort()).toEqual([...types].sort())
  for (const type of [...types, 'unsupported', 'undecryptable']) expect(documented.told).toContain(type)
})

describe.each(places)('with $name', (chat) => {
  it.each(types)('%s goes out', async (type) => {
    const row = table[type]
    const subject = await subjectOf(row, row.about?.out === 'own' ? 'us' : 'Ana', chat)
    const data = await row.file?.()
    const file = data ? { mediaId: await upload(data) } : {}
    const said = row.sent(subject)
    const content = Array.isArray(said) ? said : { ...file, ...said }
    const { whatsappId } = await post({ ...(row.about ? {} : { to: chat.to() }), type, [type]: content })
    const shown = await shownToAna(whatsappId)
    expect(shown).toMatchObject(row.shown(subject))
    if (data) expect(shown.media).toMatchObject({ bytes: data.length, sha256: sha256(data) })
    const news = row.changes ? await toldOf(subject.whatsappId, row.changes) : await toldOf(whatsappId, 'message.sent')
    if (!row.changes) expect(news).toMatchObject({ type, [type]: said, direction: 'outbound' })
  })

  it.each(types)('%s comes in', async (type) => {
    const row = table[type]
    const subject = await subjectOf(row, row.about?.in === 'own' ? 'Ana' : 'us', chat)
    const data = await row.file?.()
    const said = row.said(subject) as { media?: object }
    const id = await say(chat.of(), data ? { media: { type, base64: data.toString('base64'), ...said.media } } : said)
    const news = row.changes ? await toldOf(subject.whatsappId, row.changes) : await toldOf(id)
    expect(news).toMatchObject(row.changes ? row.told(subject) : { type, [type]: row.told(subject) })
    expect(news.sender?.phone ?? news.chat.phone).toBe(`+${ANA}`)
    if (data) await assertStored(news.id, data)
  })

  describe('to be opened once', () => {
    it.each(['image', 'video', 'audio'] as const)('%s goes out', async (type) => {
      const data = (await table[type].file?.()) ?? Buffer.of()
      const voice = type === 'audio' ? { voice: true } : {}
      const content = { mediaId: await upload(data), viewOnce: true, ...voice }
      const { whatsappId } = await post({ to: chat.to(), type, [type]: content })
      const shown = await shownToAna(whatsappId)
      expect(shown).toMatchObject({ viewOnce: true, media: { sha256: sha256(data) } })
      expect(await toldOf(whatsappId, 'message.sent')).toMatchObject({ type, [type]: { viewOnce: true } })
    })

    it.each(['image', 'video', 'audio'] as const)('%s comes in: its phone keeps it, and says so', async (type) => {
      const voice = type === 'audio'
      const id = await say(chat.of(), { media: { type, bytes: 5_000, voice, viewOnce: true } })
      const news = await toldOf(id)
      expect(news).toMatchObject({ type: 'unsupported', unsupported: { kind: 'view_once' }, media: null })
      expect(news.sender?.phone ?? news.chat.phone).toBe(`+${ANA}`)
    })

    it.each(['image', 'video', 'audio'] as const)('%s comes in whole where its sender gave it to all', async (type) => {
      const data = (await table[type].file?.()) ?? Buffer.of()
      const file = { type, base64: data.toString('base64'), voice: type === 'audio', viewOnce: 'everywhere' }
      const news = await toldOf(await say(chat.of(), { media: file }))
      expect(news).toMatchObject({ type, [type]: { viewOnce: true } })
      await assertStored(news.id, data)
    })
  })
})

describe('as status', () => {
  const shapes = ['image', 'video', 'audio'] as const

  it.each(shapes)('%s goes out to who has written to us, and comes in with its author', async (type) => {
    await toldOf(await say({ to: ACCOUNT }, { text: `before the ${type}` }))
    const data = (await table[type].file?.()) ?? Buffer.of()
    const said = table[type].sent(none)
    const { whatsappId } = await post({ to: STATUS, type, [type]: { mediaId: await upload(data), ...said } })
    expect((await shownToAna(whatsappId)).media).toMatchObject({ bytes: data.length, sha256: sha256(data) })
    const file = { type, base64: data.toString('base64'), voice: type === 'audio' }
    const news = await toldOf(await say({ status: true }, { media: file }))
    expect(news).toMatchObject({ type, chat: { groupJid: STATUS }, sender: { phone: `+${ANA}` } })
    await assertStored(news.id, data)
  })
})

async function assertStored(messageId: string, data: Buffer): Promise<void> {
  const ready = await told('media.ready', (got) => got.messageId === messageId)
  expect(ready).toMatchObject({ state: 'stored', size: data.length, sha256: sha256(data) })
  expect(await download(ready.id)).toBe(sha256(data))
}
