/**
 * One person who is seen by LID, then by number, then by another spelling of it, then by a username: one contact with one
 * history in every view. Over the HTTP API of the built product, with a simulated phone.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
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

const OWNER = '5511987654321'
/** As WhatsApp knows it: without the ninth digit that people write. */
const ANA = '551188776655'
const WRITTEN = '+5511988776655'

let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let simulator: SimulatorProcess
let mirante: MiranteProcess
let receiver: WebhookReceiver
let instanceId: string
/** Everything that any view has shown, as text. */
const shown: string[] = []

beforeAll(async () => {
  database = await createEmptyDatabase()
  simulator = await launchSimulator(['--latency-ms', '10'])
  mirante = await launchMirante({ simulator, env: { DATABASE_URL: database.url } })
  receiver = await startWebhookReceiver()
  instanceId = await pairByQr(mirante, simulator, 'shop', OWNER)
  const { body } = await mirante.api('POST', '/api/webhooks', { body: { url: receiver.url } })
  receiver.trust(body.secret)
})
afterAll(async () => {
  await receiver?.stop()
  await mirante?.stop()
  await simulator?.stop()
  await database?.drop()
})

test('by LID, by number, by another spelling and by username: one contact, one history', async () => {
  const live = await openLive()
  await habits({ addressing: 'lid', hidesNumber: true, username: 'ana.souza' })
  await write('one, by lid alone')
  const [first] = await history(1)
  expect(first.chat).toMatchObject({ phone: null, username: null, name: 'Ana' })

  // By a number that nobody knows to be hers yet: a contact of its own, until WhatsApp says who it is.
  await send(`+${ANA}`, 'two, by number')
  await eventually(async () => (await contacts()).length === 1, 'the two contacts to be one')
  await send(WRITTEN, 'three, with the ninth digit')
  await habits({ addressing: 'pn', hidesNumber: false })
  await write('four, from the number')
  await history(4)
  await send('@ana.souza', 'five, by username')
  await send(`${first.chat.lid}@lid`, 'six, by lid')

  const all = await history(6)
  expect(all.map(({ text }: Message) => text?.body)).toEqual([
    'one, by lid alone',
    'two, by number',
    'three, with the ninth digit',
    'four, from the number',
    'five, by username',
    'six, by lid',
  ])
  expect(new Set(all.map(({ chat }: Message) => JSON.stringify(chat))).size).toBe(1)
  const [{ chat }] = all
  expect(chat).toMatchObject({ phone: `+${ANA}`, waId: ANA, lid: first.chat.lid, username: 'ana.souza', name: 'Ana' })

  // Every other view.
  const byChat = await read(`/api/messages?chat=${chat.id}&limit=50`)
  expect(byChat.data.map(({ id }: Message) => id).toReversed()).toEqual(all.map(({ id }: Message) => id))
  expect((await read(`/api/messages?chat=${first.chat.id}&limit=50`)).data).toEqual(byChat.data)
  const chats = await read('/api/chats')
  expect(chats.data).toEqual([{ ...chat, instanceId, lastMessage: expect.objectContaining({ id: all[5].id }) }])
  for (const q of ['ana.souza', ANA, WRITTEN, first.chat.lid, 'Ana']) {
    expect((await read(`/api/chats?q=${encodeURIComponent(q)}`)).data, q).toEqual(chats.data)
  }
  for (const name of [chat.id, first.chat.id, `+${ANA}`, WRITTEN, `${first.chat.lid}@lid`, '@ana.souza']) {
    const path = `/api/chats/${encodeURIComponent(name)}/messages?instanceId=${instanceId}`
    expect((await read(path)).data, name).toEqual(byChat.data)
    expect((await read(`${path}&order=asc`)).data, name).toEqual(byChat.data.toReversed())
  }
  const [contact] = await contacts()
  expect(contact).toMatchObject({ id: chat.contactId, phone: `+${ANA}`, lid: first.chat.lid, username: 'ana.souza' })
  const details = await read(`/api/contacts/${first.chat.contactId}`)
  expect(details).toMatchObject({ id: chat.contactId, chats: [{ id: chat.id, instanceId }], names: { push: 'Ana' } })
  const identities = details.identities.map(({ value }: { value: string }) => value)
  expect(new Set(identities)).toEqual(new Set([`+${ANA}`, WRITTEN, first.chat.lid, 'ana.souza']))
  for (const q of ['ana.souza', ANA, WRITTEN, first.chat.lid, 'Ana']) {
    expect((await read(`/api/contacts?q=${encodeURIComponent(q)}`)).data).toEqual([contact])
  }
  const checked = await mirante.api('POST', '/api/contacts/check', {
    body: { instanceId, numbers: [WRITTEN, ANA, '+5511900000000'] },
  })
  shown.push(JSON.stringify(checked.body))
  const known = { exists: true, waId: ANA, lid: first.chat.lid, contactId: chat.contactId }
  expect(checked.body.data).toMatchObject([known, known, { exists: false, contactId: null }])

  // What was told: the merge names what it joined, and every message from then on is hers.
  const merges = () => received('contact.updated').filter(({ data }) => data.reason === 'merged')
  await receiver.waitFor(
    () => received('message.sent').length === 4 && merges().length > 0,
    'four messages of ours, and the merge, to be told',
  )
  const [merge] = merges()
  expect(merge?.data).toMatchObject({
    id: chat.contactId,
    merged: {
      id: first.chat.contactId,
      lid: first.chat.lid,
      chats: [{ from: first.chat.id, into: chat.id }],
    },
  })
  const last = received('message.sent').find(({ data }) => data.text.body === 'six, by lid')
  expect(last?.data.chat).toEqual(chat)
  const told = await live.until(() => live.events.some(({ data }) => data.text?.body === 'six, by lid'))
  expect(told.filter(({ type, data }) => type === 'contact.updated' && data.reason === 'merged')).toHaveLength(1)
  await live.close()

  // Her phone has each once and in order, and no device of hers or ours is in any view.
  const inboxOf = () => simulator.admin<Inbox>('GET', `/admin/contacts/${ANA}/inbox`)
  await eventually(async () => (await inboxOf()).messages.length >= 4, 'her phone has all four')
  const inbox = await inboxOf()
  expect(inbox.messages.map(({ text }) => text)).toEqual(all.filter(isOurs).map(({ text }: Message) => text?.body))
  shown.push(...receiver.verified.map(({ body }) => body), ...told.map((event) => JSON.stringify(event)))
  expect(shown.join('\n')).not.toMatch(/\d[:_]\d+@|\d:\d+"/)
})

// biome-ignore lint/suspicious/noExplicitAny: the shape of a view is what is being tested
type Message = any // oxlint-disable-line typescript/no-explicit-any
interface Inbox {
  readonly messages: readonly { readonly text: string }[]
}
interface LiveEvent {
  readonly type: string
  readonly data: Message
}

const isOurs = ({ direction }: Message): boolean => direction === 'outbound'
const received = (type: string) =>
  receiver.verified.map(({ payload }) => payload).filter((event) => event.type === type)
const contacts = async (): Promise<Message[]> => (await read('/api/contacts')).data
const write = (text: string) => simulator.admin('POST', `/admin/contacts/${ANA}/send`, { to: OWNER, text })
const habits = (given: object) => simulator.admin('POST', '/admin/contacts', { phones: [ANA], name: 'Ana', ...given })

async function read(path: string): Promise<Message> {
  const { status, body } = await mirante.api('GET', path)
  expect(status, path).toBe(200)
  shown.push(JSON.stringify(body))
  return body
}

async function send(to: string, body: string): Promise<void> {
  const answer = await mirante.api('POST', '/api/messages?wait=20', {
    body: { instanceId, to, type: 'text', text: { body } },
  })
  expect(answer.body.status, `${to}: ${JSON.stringify(answer.body)}`).toMatch(/sent|delivered|read/)
}

/** All messages, the oldest first, once there are so many. */
async function history(count: number): Promise<Message[]> {
  await eventually(async () => (await read('/api/messages?limit=50')).data.length >= count, `${count} messages`)
  return (await read('/api/messages?limit=50')).data.toReversed()
}

/** Follows the live stream from now on. */
async function openLive() {
  const ended = new AbortController()
  const headers = { authorization: `Bearer ${TEST_API_KEY}` }
  const answer = await fetch(`${mirante.url}/api/live`, { headers, signal: ended.signal })
  const events: LiveEvent[] = []
  const reading = follow(answer, events).catch((error: unknown) => {
    if (!ended.signal.aborted) throw error
  })
  return {
    events,
    async until(condition: () => boolean): Promise<readonly LiveEvent[]> {
      await eventually(condition, 'the live stream')
      return events
    },
    close() {
      ended.abort()
      return reading
    },
  }
}

async function follow({ body }: Response, events: LiveEvent[]): Promise<void> {
  let text = ''
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString()
    const frames = text.split('\n\n')
    text = frames.pop() ?? ''
    for (const frame of frames) {
      const data = /^data: ?(.*)$/m.exec(frame)?.[1]
      if (data) events.push(JSON.parse(data) as LiveEvent)
    }
  }
}
