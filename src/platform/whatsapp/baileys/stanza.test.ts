import type { BinaryNode } from 'baileys'
import { describe, expect, it } from 'vitest'
import { readStanza } from './stanza.js'

const me = { waId: '5511', lid: '99' }
const now = 5_000
const known = {
  lidOf: (waId: string) => (waId === '5533' ? '33' : undefined),
  phoneOf: (lid: string) => (lid === '33' ? '5533' : undefined),
}
const read = (tag: string, attrs: Record<string, string>, content?: BinaryNode[]) =>
  readStanza({ tag, attrs, ...(content ? { content } : {}) }, { me, now, ...known })
const at = new Date(7_000)

describe('a receipt', () => {
  it.each([
    [undefined, 'delivered'],
    ['inactive', 'delivered'],
    ['read', 'read'],
    ['played', 'played'],
  ])('of type %s says %s', (type, status) => {
    const chat = { waId: '5522' }
    const attrs = { id: 'A', from: '5522@s.whatsapp.net', t: '7', ...(type ? { type } : {}) }
    const receipt = { whatsappIds: ['A'], chat, status, at }
    expect(read('receipt', attrs)).toEqual({ kind: 'answer', answer: { whatsappIds: ['A'], at, receipts: [receipt] } })
  })

  it('may answer for many messages', () => {
    const list = { tag: 'list', attrs: {}, content: [{ tag: 'item', attrs: { id: 'B' } }] }
    const reading = read('receipt', { id: 'A', from: '7@lid', t: '7', type: 'read' }, [list])
    expect(reading).toMatchObject({ answer: { receipts: [{ whatsappIds: ['A', 'B'], chat: { lid: '7' } }] } })
  })

  it.each([
    ['with a NUL in it', 'A\0'],
    ['with half a surrogate pair', 'A\ud800'],
    ['longer than any', 'A'.repeat(256)],
  ])('of an id %s is of no message of ours, beside one that is', (_what, id) => {
    const attrs = { from: '5522@s.whatsapp.net', t: '7' }
    expect(read('receipt', { ...attrs, id })).toEqual({ kind: 'known' })
    const list = { tag: 'list', attrs: {}, content: [{ tag: 'item', attrs: { id } }] }
    const reading = read('receipt', { ...attrs, id: 'A' }, [list])
    expect(reading).toMatchObject({ answer: { receipts: [{ whatsappIds: ['A'] }] } })
  })

  it.each(['soon', '-1', '1e99', '99999999999999'])('is of now where its time is %s', (t) => {
    const reading = read('receipt', { id: 'A', from: '5522@s.whatsapp.net', t })
    expect(reading).toMatchObject({ answer: { at: new Date(now), receipts: [{ at: new Date(now) }] } })
  })

  it.each([
    ['one of our own devices', { from: '5511:2@s.whatsapp.net' }],
    ['one of our own devices by its LID', { from: '99:2@lid' }],
    ['one of our own devices in a group', { from: '123@g.us', participant: '99:2@lid' }],
    ['a group, without saying who', { from: '123@g.us' }],
    ['a member of a group that could not read it', { from: '123@g.us', participant: '7@lid', type: 'retry' }],
    ['somebody who saw a status', { from: 'status@broadcast', participant: '7@lid', type: 'read' }],
    ['a device that could not read it', { from: '7@lid', type: 'retry' }],
    ['a device of ours that sent it', { from: '7@lid', type: 'sender' }],
  ])('of %s proves that the server has the message, and no more', (_whose, attrs) => {
    expect(read('receipt', { id: 'A', t: '7', ...attrs })).toEqual({
      kind: 'answer',
      answer: { whatsappIds: ['A'], at },
    })
  })
})

describe('a receipt of a group', () => {
  const chat = { groupJid: '123@g.us' }
  const from = '123@g.us'

  it.each([
    ['7:3@lid', {}, { lid: '7' }],
    ['33@lid', {}, { lid: '33', waId: '5533' }],
    ['5533:1@s.whatsapp.net', {}, { lid: '33', waId: '5533' }],
    ['7@lid', { participant_pn: '5577@s.whatsapp.net' }, { lid: '7', waId: '5577' }],
  ])('by %s is of that member', (participant, more, member) => {
    const reading = read('receipt', { id: 'A', from, participant, t: '7', type: 'read', ...more })
    const receipts = [{ whatsappIds: ['A'], chat, status: 'read', at, member }]
    expect(reading).toEqual({ kind: 'answer', answer: { whatsappIds: ['A'], at, receipts } })
  })

  it('may answer for many messages', () => {
    const items = ['B', 'C'].map((id) => ({ tag: 'item', attrs: { id } }))
    const attrs = { id: 'A', from, participant: '7@lid', t: '7', type: 'played' }
    expect(read('receipt', attrs, [{ tag: 'list', attrs: {}, content: items }])).toMatchObject({
      answer: { receipts: [{ whatsappIds: ['A', 'B', 'C'], status: 'played', member: { lid: '7' } }] },
    })
  })

  it('may gather many members, per message, each with its time', () => {
    const user = (jid: string, t?: string) => ({ tag: 'user', attrs: { jid, ...(t ? { t } : {}) } })
    const gathered = [
      { tag: 'participants', attrs: { key: 'A' }, content: [user('7@lid', '8'), user('33@lid'), user('99@lid', '8')] },
      { tag: 'participants', attrs: { key: 'B' }, content: [user('7@lid', '9')] },
    ]
    const receipts = [
      { whatsappIds: ['A'], chat, status: 'delivered', at: new Date(8_000), member: { lid: '7' } },
      { whatsappIds: ['A'], chat, status: 'delivered', at, member: { lid: '33', waId: '5533' } },
      { whatsappIds: ['B'], chat, status: 'delivered', at: new Date(9_000), member: { lid: '7' } },
    ]
    expect(read('receipt', { id: 'X', from, t: '7' }, gathered)).toEqual({
      kind: 'answer',
      answer: { whatsappIds: ['A', 'B'], at, receipts },
    })
  })
})

describe('an acknowledgement', () => {
  it('of a message is an answer', () => {
    const reading = read('ack', { class: 'message', id: 'A', from: '7@lid', t: '7' })
    expect(reading).toEqual({ kind: 'answer', answer: { whatsappIds: ['A'], at } })
  })

  it('without a time is now', () => {
    expect(read('ack', { class: 'message', id: 'A' })).toMatchObject({ answer: { at: new Date(now) } })
  })

  it('with an error is a refusal', () => {
    expect(read('ack', { class: 'message', id: 'A', error: '463' })).toMatchObject({ answer: { errorCode: '463' } })
  })

  it('that names a device hash says that we wrote to the wrong devices', () => {
    const attrs = { class: 'message', id: 'A', from: '5522@s.whatsapp.net', phash: '2:abcdef' }
    expect(read('ack', attrs)).toMatchObject({ answer: { staleDevicesOf: { waId: '5522' } } })
  })

  it('of anything else is not for us', () => {
    expect(read('ack', { class: 'receipt', id: 'A' })).toEqual({ kind: 'known' })
  })
})

describe('any other stanza', () => {
  it('nobody has heard of is named by its outline', () => {
    const reading = read('unheard-of', { from: '5522@s.whatsapp.net', type: 'odd' }, [{ tag: 'thing', attrs: {} }])
    expect(reading).toEqual({ kind: 'unknown', detail: 'type odd with thing' })
  })

  it.each(['iq', 'notification', 'presence', 'stream:error'])('%s is the business of the library', (tag) => {
    expect(read(tag, {})).toEqual({ kind: 'known' })
  })

  it('a message from a sort of address we do not know is named, one of a channel is not', () => {
    expect(read('message', { from: '7@newsletter' })).toEqual({ kind: 'message' })
    expect(read('message', { from: '7@martians' })).toEqual({ kind: 'unknown', detail: 'from martians' })
  })
})
