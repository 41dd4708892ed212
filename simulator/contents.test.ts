import {
  type AnyMessageContent,
  aesEncryptGCM,
  decryptPollVote,
  hmacSign,
  proto,
  sha256,
  type WAMessage,
  type WAMessageKey,
} from 'baileys'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Draft } from './phone/compose.js'
import { connectBareClient } from './testing/bare-client.js'
import { eventually } from './testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from './testing/linked-account.js'

let linked: LinkedAccount
let anna: string
let bruno: string
let chat: string

beforeEach(async () => {
  linked = await startLinkedAccount({ contacts: 2 })
  ;[anna = '', bruno = ''] = linked.contacts
  chat = `${anna}@s.whatsapp.net`
})
afterEach(async () => {
  expect(linked.simulator.problems).toEqual([])
  await linked.stop()
})

const say = async (content: AnyMessageContent, options = {}, to = chat) =>
  (await linked.client.socket.sendMessage(to, content, options)) as WAMessage
const shown = (id: string | null | undefined, phone = anna) =>
  eventually(() => linked.simulator.phones.inbox(phone).messages.find(({ whatsappId }) => whatsappId === id))
const arrived = (id: string) => eventually(() => linked.client.messages.find(({ key }) => key.id === id))
const write = (draft: Draft, phone = anna) => linked.simulator.phones.write(phone, { to: linked.account }, draft)
const written = async (draft: Draft) => arrived(await write(draft))

describe('a phone shows what a client sends:', () => {
  it('a reply with mentions', async () => {
    const question = await arrived(await write({ text: 'when?' }))
    const mentions = [`${bruno}@s.whatsapp.net`]
    const { key } = await say({ text: 'ask @Bruno', mentions }, { quoted: question })
    expect(await shown(key.id)).toMatchObject({
      type: 'text',
      text: 'ask @Bruno',
      mentions: [bruno],
      replyTo: { id: question.key.id, from: anna, text: 'when?' },
    })
  })

  it('a link with its preview', async () => {
    const linkPreview = { 'canonical-url': 'https://a.b', 'matched-text': 'https://a.b', title: 'AB' }
    const { key } = await say({ text: 'see https://a.b', linkPreview })
    expect((await shown(key.id)).message).toMatchObject({
      extendedTextMessage: { title: 'AB', matchedText: 'https://a.b' },
    })
  })

  it('a location', async () => {
    const { key } = await say({ location: { degreesLatitude: -23.5, degreesLongitude: -46.6, name: 'Sé' } })
    expect(await shown(key.id)).toMatchObject({
      type: 'location',
      message: { locationMessage: { degreesLatitude: -23.5, name: 'Sé' } },
    })
  })

  it('contacts', async () => {
    const { key } = await say({
      contacts: { displayName: 'B', contacts: [{ displayName: 'B', vcard: 'BEGIN:VCARD' }] },
    })
    expect(await shown(key.id)).toMatchObject({
      type: 'contacts',
      message: { contactMessage: { vcard: 'BEGIN:VCARD' } },
    })
  })

  it('a reaction', async () => {
    const { key } = await written({ text: 'done' })
    const reaction = await say({ react: { text: '👍', key } })
    expect(await shown(reaction.key.id)).toMatchObject({ type: 'reaction', reaction: { id: key.id, emoji: '👍' } })
  })

  it('an edit and a deletion', async () => {
    const { key } = await say({ text: 'helo' })
    const edit = await say({ text: 'hello', edit: key })
    expect(await shown(edit.key.id)).toMatchObject({ type: 'edit', text: 'hello', refersTo: key.id })
    const deletion = await say({ delete: key })
    expect(await shown(deletion.key.id)).toMatchObject({ type: 'delete', refersTo: key.id })
    expect(await shown(key.id)).toMatchObject({ text: 'helo', edited: 'hello', deleted: true })
  })

  it('a poll, in which it votes', async () => {
    const messageSecret = new Uint8Array(32).fill(7)
    const { key } = await say({ poll: { name: 'Day?', values: ['Mon', 'Tue'], selectableCount: 1, messageSecret } })
    expect(await shown(key.id)).toMatchObject({
      type: 'poll',
      poll: { question: 'Day?', options: ['Mon', 'Tue'], selectable: 1 },
    })
    const vote = await written({ vote: { pollId: key.id ?? '', options: ['Tue'] } })
    const { selectedOptions } = decryptPollVote(vote.message?.pollUpdateMessage?.vote ?? {}, {
      pollCreatorJid: `${linked.account}@s.whatsapp.net`,
      pollMsgId: key.id ?? '',
      pollEncKey: messageSecret,
      voterJid: chat,
    })
    expect(selectedOptions?.map((hash) => Buffer.from(hash))).toEqual([sha256(Buffer.from('Tue'))])
    expect(vote.message?.pollUpdateMessage?.pollCreationMessageKey).toMatchObject({ id: key.id, fromMe: true })
  })

  it('a vote in the poll of a contact', async () => {
    const poll = await written({ poll: { question: 'Day?', options: ['Mon', 'Tue'], selectable: 2 } })
    const secret = poll.message?.messageContextInfo?.messageSecret ?? new Uint8Array()
    const voted = await sendVote(poll.key, secret, ['Mon', 'Tue'])
    expect(await shown(voted)).toMatchObject({
      type: 'vote',
      vote: { pollId: poll.key.id, options: ['Mon', 'Tue'] },
      refersTo: poll.key.id,
    })
  })

  /** The library reads votes and cannot cast them; its own primitives do. */
  async function sendVote(poll: WAMessageKey, secret: Uint8Array, options: string[]): Promise<string> {
    const [creator, voter] = [chat, `${linked.account}@s.whatsapp.net`]
    const info = Buffer.concat([Buffer.from(`${poll.id}${creator}${voter}Poll Vote`), Buffer.of(1)])
    const key = hmacSign(info, hmacSign(secret, new Uint8Array(32)))
    const selectedOptions = options.map((option) => sha256(Buffer.from(option)))
    const plain = proto.Message.PollVoteMessage.encode({ selectedOptions }).finish()
    const encIv = new Uint8Array(12).fill(3)
    const encPayload = aesEncryptGCM(plain, key, encIv, Buffer.from(`${poll.id}\0${voter}`))
    const pollUpdateMessage = { pollCreationMessageKey: poll, vote: { encPayload, encIv } }
    return linked.client.socket.relayMessage(chat, { pollUpdateMessage }, {})
  }
})

describe('a client gets what a phone writes:', () => {
  it('a reply with mentions', async () => {
    const { key } = await say({ text: 'when?' })
    await shown(key.id)
    const draft = { text: 'ask @Bruno', replyTo: { id: key.id ?? '' }, mentions: [bruno] }
    const { message } = await written(draft)
    expect(message?.extendedTextMessage).toMatchObject({
      text: 'ask @Bruno',
      contextInfo: {
        stanzaId: key.id,
        participant: `${linked.account}@s.whatsapp.net`,
        mentionedJid: [`${bruno}@s.whatsapp.net`],
        quotedMessage: { extendedTextMessage: { text: 'when?' } },
      },
    })
  })

  it('a link with its preview', async () => {
    const { message } = await written({ text: 'see https://a.b', linkPreview: { url: 'https://a.b', title: 'AB' } })
    expect(message?.extendedTextMessage).toMatchObject({ matchedText: 'https://a.b', title: 'AB' })
  })

  it('location and contacts', async () => {
    const place = await written({ location: { latitude: 1.5, longitude: 2.5, name: 'There' } })
    expect(place.message?.locationMessage).toMatchObject({ degreesLatitude: 1.5, name: 'There' })
    const one = await written({ contacts: [{ name: 'Bia', phone: '5511900000001' }] })
    expect(one.message?.contactMessage?.vcard).toContain('waid=5511900000001')
    const cards = [1, 2].map((n) => ({ name: `C${n}`, phone: `551190000000${n}` }))
    expect((await written({ contacts: cards })).message?.contactsArrayMessage?.contacts).toHaveLength(2)
  })

  it('a reaction', async () => {
    const { key } = await say({ text: 'done' })
    await shown(key.id)
    const { message } = await written({ reaction: { id: key.id ?? '', emoji: '🎉' } })
    expect(message?.reactionMessage).toMatchObject({ text: '🎉', key: { id: key.id, fromMe: true, remoteJid: chat } })
  })

  it('an edit and a deletion', async () => {
    const id = await write({ text: 'helo' })
    await arrived(id)
    const edit = await written({ edit: { id, text: 'hello' } })
    expect(edit.message?.protocolMessage).toMatchObject({ key: { id }, editedMessage: { conversation: 'hello' } })
    const deletion = await written({ delete: { id } })
    expect(deletion.message?.protocolMessage).toMatchObject({ key: { id }, type: 0 })
  })

  it('any content there is', async () => {
    const { message } = await written({ message: { liveLocationMessage: { degreesLatitude: 3, degreesLongitude: 4 } } })
    expect(message?.liveLocationMessage).toMatchObject({ degreesLatitude: 3 })
  })

  it('receipts when the phone is told to give them', async () => {
    linked.simulator.phones.createContacts({ phones: [anna], habits: { receipts: 'none' } })
    const { key } = await say({ text: 'hello' })
    await shown(key.id)
    expect(linked.client.statusOf(key.id ?? '')).toBeLessThan(3)
    linked.simulator.phones.giveReceipts(anna, [key.id ?? ''], 'read')
    await eventually(() => linked.client.statusOf(key.id ?? '') === 4)
    linked.simulator.phones.giveReceipts(anna, [key.id ?? ''], 'played')
    await eventually(() => linked.client.statusOf(key.id ?? '') === 5)
  })
})

describe('the owner writes on the own phone', () => {
  it('to a contact: the contact reads it, the client has it as its own', async () => {
    const { simulator, account } = linked
    const id = await simulator.phones.write(account, { to: anna }, { text: 'from my phone' })
    expect(await shown(id)).toMatchObject({ text: 'from my phone', from: account })
    const { key, message } = await arrived(id)
    expect(key).toMatchObject({ remoteJid: chat, fromMe: true })
    expect(message?.conversation).toBe('from my phone')
  })

  it('and reads there what contacts wrote', async () => {
    await write({ text: 'hello' })
    await eventually(() => linked.simulator.phones.inbox(linked.account).messages[0]?.text === 'hello')
  })

  it('about a message of the client', async () => {
    const { simulator, account } = linked
    const { key } = await say({ text: 'hello' })
    await eventually(() => simulator.phones.copies(account).messages.length === 1)
    const id = await simulator.phones.write(account, { to: anna }, { delete: { id: key.id ?? '' } })
    expect((await arrived(id)).message?.protocolMessage?.key).toMatchObject({ id: key.id, fromMe: true })
    await eventually(() => simulator.phones.inbox(anna).messages[0]?.deleted)
  })
})

describe('a status', () => {
  it('of a contact reaches the client', async () => {
    const { simulator, account } = linked
    const id = await simulator.phones.write(anna, { status: [account, bruno] }, { text: 'at the sea' })
    const { key, message } = await arrived(id)
    expect(key).toMatchObject({ remoteJid: 'status@broadcast', participant: chat })
    expect(message?.conversation).toBe('at the sea')
    expect(await shown(id, bruno)).toMatchObject({ group: 'status@broadcast', text: 'at the sea' })
    await eventually(() => simulator.phones.sent(anna)[0]?.state === 'delivered')
  })

  it('of the client reaches those it is for', async () => {
    const { key } = await say({ text: 'open again' }, { statusJidList: [chat] }, 'status@broadcast')
    expect(await shown(key.id)).toMatchObject({ group: 'status@broadcast', text: 'open again' })
    expect(linked.simulator.phones.inbox(bruno).messages).toEqual([])
  })
})

describe('typing and presence', () => {
  it('of a client are seen by its contact and by another client', async () => {
    const { simulator, client, account } = linked
    const other = connectBareClient(simulator, { pushName: 'Bia' })
    await other.pair('5511987654321')
    await eventually(() => other.state.creds.accountSyncCounter > 0)
    // Without a name the library says nothing.
    Object.assign(client.state.creds.me ?? {}, { name: 'Ana' })
    await client.socket.sendPresenceUpdate('available')
    const seen: string[] = []
    other.socket.ev.on('presence.update', ({ presences }) => {
      for (const { lastKnownPresence } of Object.values(presences)) seen.push(lastKnownPresence)
    })
    await other.socket.presenceSubscribe(`${account}@s.whatsapp.net`)
    await eventually(() => seen.at(-1) === 'available')
    await client.socket.sendPresenceUpdate('recording', '5511987654321@s.whatsapp.net')
    await eventually(() => seen.at(-1) === 'recording')
    await client.socket.sendPresenceUpdate('composing', chat)
    await eventually(() => simulator.phones.inbox(anna).typing[0]?.state === 'composing')
    client.close()
    await eventually(() => seen.at(-1) === 'unavailable')
    other.close()
  })
})

describe('a group', () => {
  it('votes, reacts, replies and types as a chat of two does', async () => {
    const { simulator, client, account } = linked
    const { jid: group } = simulator.groups.create({ subject: 'All', creator: anna, members: [bruno, account] })
    const post = (phone: string, draft: Draft) => simulator.phones.write(phone, { group }, draft)
    const poll = await say({ poll: { name: 'Day?', values: ['Mon', 'Tue'] } }, {}, group)
    await shown(poll.key.id, bruno)
    const vote = await post(bruno, { vote: { pollId: poll.key.id ?? '', options: ['Mon'] } })
    expect(await shown(vote)).toMatchObject({ vote: { options: ['Mon'] } })
    const reply = await post(anna, { text: 'fine', replyTo: { id: vote } })
    const lidOf = (phone: string) => `${simulator.world.find(phone)?.lid}@lid`
    expect((await arrived(reply)).message?.extendedTextMessage?.contextInfo).toMatchObject({
      participant: lidOf(bruno),
    })
    const called = await say({ text: 'you two', mentions: [lidOf(anna), lidOf(bruno)] }, {}, group)
    expect((await shown(called.key.id)).mentions).toEqual([anna, bruno])
    const reaction = await post(bruno, { reaction: { id: reply, emoji: '👀' } })
    expect((await arrived(reaction)).message?.reactionMessage?.key).toMatchObject({ participant: lidOf(anna) })
    const deletion = await post(anna, { delete: { id: vote } })
    expect((await arrived(deletion)).message?.protocolMessage?.key).toMatchObject({ participant: lidOf(bruno) })
    const seen: string[] = []
    client.socket.ev.on('presence.update', ({ id, presences }) => seen.push(id, ...Object.keys(presences)))
    simulator.phones.showTyping(bruno, group, 'composing')
    await eventually(() => seen.includes(group) && seen.includes(lidOf(bruno)))
  })
})
