import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from '../testing/linked-account.js'

let linked: LinkedAccount
let anna: string
let bruno: string

beforeAll(async () => {
  linked = await startLinkedAccount()
  ;[anna = '', bruno = ''] = linked.contacts
})
afterAll(() => linked.stop())

type Json = { [name: string]: unknown }

async function call(method: string, path: string, body?: Json): Promise<{ status: number; body: Json }> {
  const answer = await fetch(linked.simulator.httpUrl + path, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as Json }
}

const send = async (body: Json, from = `contacts/${anna}`) => {
  const answer = await call('POST', `/admin/${from}/send`, { to: linked.account, ...body })
  expect(answer).toMatchObject({ status: 200, body: { ids: [answer.body.id] } })
  return String(answer.body.id)
}
const received = async (id: string) =>
  (await eventually(() => linked.client.messages.find(({ key }) => key.id === id))).message ?? {}

describe('sending over the admin API', () => {
  it('says everything a phone can say', async () => {
    const first = await send({ text: 'hello', id: 'FIRST1' })
    expect(first).toBe('FIRST1')
    const poll = await send({ poll: { question: 'Day?', options: ['Mon', 'Tue'] } })
    const sent: [Json, Json][] = [
      [{ text: 'hi', replyTo: { id: first }, mentions: [bruno] }, { extendedTextMessage: { text: 'hi' } }],
      [{ media: { type: 'audio', bytes: 500, voice: true, seconds: 2 } }, { audioMessage: { ptt: true, seconds: 2 } }],
      [{ media: { type: 'image', base64: 'AAAA', caption: 'c' } }, { imageMessage: { caption: 'c' } }],
      [{ media: { type: 'document', bytes: 9, filename: 'a.pdf' } }, { documentMessage: { fileName: 'a.pdf' } }],
      [{ location: { latitude: 1, longitude: 2 } }, { locationMessage: { degreesLongitude: 2 } }],
      [{ contacts: [{ name: 'Bia', phone: bruno }] }, { contactMessage: { displayName: 'Bia' } }],
      [{ vote: { pollId: poll, options: ['Mon'] } }, { pollUpdateMessage: { pollCreationMessageKey: { id: poll } } }],
      [{ reaction: { id: first, emoji: '👍' } }, { reactionMessage: { text: '👍' } }],
      [{ edit: { id: first, text: 'hallo' } }, { protocolMessage: { key: { id: first } } }],
      [{ delete: { id: first } }, { protocolMessage: { key: { id: first } } }],
      [{ message: { conversation: 'raw' } }, { conversation: 'raw' }],
    ]
    for (const [body, expected] of sent) expect(await received(await send(body))).toMatchObject(expected)
  })

  it('lets the owner write on the phone, and shows what the phone has', async () => {
    const id = await send({ to: anna, text: 'typed' }, `accounts/${linked.account}`)
    expect(await received(id)).toMatchObject({ conversation: 'typed' })
    const inbox = await call('GET', `/admin/accounts/${linked.account}/inbox`)
    expect(inbox.body.messages).toContainEqual(expect.objectContaining({ text: 'hello', from: anna }))
    await linked.client.send(anna, 'from the client')
    await eventually(() => linked.simulator.phones.copies(linked.account).messages.length === 1)
    const copies = await call('GET', `/admin/accounts/${linked.account}/inbox?of=copies`)
    expect(copies.body.messages).toMatchObject([{ text: 'from the client' }])
  })

  it('makes groups, changes them and writes into them', async () => {
    const made = await call('POST', '/admin/groups', {
      subject: 'Choir',
      creator: anna,
      members: [linked.account],
      addressing: 'pn',
      id: '120363000000000001',
    })
    expect(made.body).toMatchObject({ id: '120363000000000001', jid: '120363000000000001@g.us', addressing: 'pn' })
    const added = await call('POST', '/admin/groups/120363000000000001/members', {
      change: 'add',
      phones: [bruno, anna],
    })
    expect(added.body.results).toEqual([
      { phone: bruno, error: null },
      { phone: anna, error: 409 },
    ])
    await call('POST', '/admin/groups/120363000000000001@g.us', { subject: 'Chorus', description: 'Mondays' })
    const group = await call('GET', '/admin/groups/120363000000000001')
    expect(group.body).toMatchObject({ subject: 'Chorus', description: 'Mondays' })
    expect(group.body.members).toMatchObject([
      { phone: anna, role: 'superadmin' },
      { phone: linked.account, role: 'member' },
      { phone: bruno, role: 'member' },
    ])
    expect(await received(await send({ group: '120363000000000001', text: 'all' }))).toMatchObject({
      conversation: 'all',
    })
    expect((await call('GET', '/admin/groups')).body.groups).toHaveLength(1)
    await call('POST', `/admin/contacts/${anna}/presence`, { group: '120363000000000001', state: 'composing' })
  })

  it('gives receipts, and makes media expire', async () => {
    const id = await linked.client.send(anna, 'read me')
    await eventually(() => linked.simulator.phones.inbox(anna).messages.some(({ whatsappId }) => whatsappId === id))
    expect(await call('POST', `/admin/contacts/${anna}/receipts`, { ids: [id], type: 'read' })).toMatchObject({
      status: 200,
    })
    await eventually(() => linked.client.statusOf(id) === 4)
    const file = await send({ media: { type: 'image', bytes: 100 } })
    expect((await call('POST', '/admin/media/expire', { id: file, status: 404 })).body).toEqual({
      expired: 1,
      status: 404,
    })
    expect((await call('POST', '/admin/media', { retry: 'silent', uploadStatus: 503 })).body).toMatchObject({
      retry: 'silent',
      uploadStatus: 503,
    })
    expect((await call('GET', '/admin/media')).body.files).toContainEqual(expect.objectContaining({ status: 404 }))
  })

  it.each([
    ['nothing', {}],
    ['text that is none', { text: 7 }],
    ['media without bytes', { media: { type: 'image' } }],
    ['a kind of media nobody knows', { media: { type: 'hologram', bytes: 1 } }],
    ['a poll without options', { poll: { question: 'Day?', options: [] } }],
    ['a vote in no poll', { vote: { pollId: 'NONE', options: ['Mon'] } }],
    ['a mention of nobody', { text: 'hi', mentions: ['5511000000000'] }],
    ['a message that is none', { message: { pollCreationMessage: { options: 3 } } }],
  ])('answers %s by a sentence', async (_, body) => {
    const answer = await call('POST', `/admin/contacts/${anna}/send`, { to: linked.account, ...body })
    expect(answer.status).toBe(400)
    expect(answer.body.error).toEqual(expect.any(String))
  })

  it('knows no group that was not made, and lets nobody write into a foreign one', async () => {
    expect((await call('GET', '/admin/groups/7')).status).toBe(404)
    expect((await call('POST', `/admin/contacts/${anna}/send`, { group: '7', text: 'x' })).status).toBe(404)
    await call('POST', '/admin/groups', { subject: 'Other', members: [bruno], id: '9' })
    expect((await call('POST', `/admin/contacts/${anna}/send`, { group: '9', text: 'x' })).status).toBe(400)
  })
})
