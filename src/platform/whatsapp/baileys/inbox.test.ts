import { createHash } from 'node:crypto'
import type { BinaryNode, proto } from 'baileys'
import { beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { systemClock } from '../../../kernel/clock.js'
import type { ConnectionEvent, InboundMessage } from '../whatsapp.js'
import { createInbox } from './inbox.js'
import { type BaileysLibrary, loadBaileys } from './load.js'

let baileys: BaileysLibrary

beforeAll(async () => {
  baileys = await loadBaileys()
})

const LONG_MS = 60_000
const text = (body: string): proto.IMessage => ({ conversation: body })

/** An inbox, and Baileys as it were: decryption is what the test says it is. */
function rig({ healMs = LONG_MS } = {}) {
  const told: ConnectionEvent[] = []
  const inbox = createInbox({
    codec: baileys,
    me: () => ({ waId: '5511', lid: '99' }),
    lidOf: (waId) => (waId === '5522' ? '77' : undefined),
    phoneOf: (lid) => (lid === '77' ? '5522' : undefined),
    tellWhenDurable: (event) => told.push(event),
    tellNow: (event) => told.push(event),
    clock: systemClock,
    healMs,
  })
  let count = 0

  function arrive(attrs: Record<string, string>, ...types: string[]): Uint8Array[] {
    const payloads = types.map(() => Buffer.from(`payload ${count++}`))
    const content = types.map((type, index) => ({ tag: 'enc', attrs: { type }, content: payloads[index] as Buffer }))
    inbox.arrived({ tag: 'message', attrs: { t: '7', ...attrs }, content })
    return payloads
  }

  return {
    told,
    inbox,
    arrive,
    decrypt(ciphertext: Uint8Array | undefined, message: proto.IMessage, { repeated = false } = {}) {
      if (!ciphertext) throw new Error('no such payload')
      const encHash = createHash('sha256').update(ciphertext).digest()
      inbox.decrypted({ ciphertext, encHash, plaintext: baileys.encodeWAMessage(message), repeated })
    },
    fail(ciphertext: Uint8Array | undefined) {
      if (ciphertext) inbox.failed({ ciphertext, error: new Error('Bad MAC') })
    },
    messages: (): InboundMessage[] => told.flatMap((event) => (event.type === 'message' ? [event.message] : [])),
  }
}

const ana = { id: 'A', from: '5522@s.whatsapp.net' }

describe('a stanza with several payloads', () => {
  const inGroup = { id: 'G', from: '123@g.us', participant: '77:3@lid' }

  it('is told once, when the last is decrypted, and settles all of them', () => {
    const { arrive, decrypt, messages } = rig()
    const [key, message] = arrive(inGroup, 'pkmsg', 'skmsg')
    decrypt(key, { senderKeyDistributionMessage: { groupId: '123@g.us' } })
    expect(messages()).toEqual([])
    decrypt(message, text('hi all'))
    expect(messages()).toMatchObject([{ chat: { groupJid: '123@g.us' }, content: { text: { body: 'hi all' } } }])
    expect(messages()[0]?.encHashes).toHaveLength(2)
  })

  it('settles what could be read of one that could not be read in whole', () => {
    const { arrive, decrypt, fail, told, inbox } = rig()
    const [key, message] = arrive(inGroup, 'pkmsg', 'skmsg')
    decrypt(key, { senderKeyDistributionMessage: { groupId: '123@g.us' } })
    fail(message)
    expect(told).toMatchObject([{ type: 'raw-settled', as: 'sender-key-distribution' }])
    inbox.close()
    expect(told[1]).toMatchObject({ message: { content: { type: 'undecryptable' } } })
  })

  it('is not told again when all of it is a repeat', () => {
    const { arrive, decrypt, told } = rig()
    const [payload] = arrive(ana, 'msg')
    decrypt(payload, text('hi'), { repeated: true })
    expect(told).toEqual([])
  })
})

describe('who is meant', () => {
  it('is completed from what we know', () => {
    const { arrive, decrypt, messages } = rig()
    decrypt(arrive(ana, 'msg')[0], text('from the phone number'))
    decrypt(arrive({ id: 'B', from: '77:2@lid' }, 'msg')[0], text('from the LID'))
    const person = { waId: '5522', lid: '77' }
    expect(messages()).toMatchObject([
      { chat: person, sender: person },
      { chat: person, sender: person },
    ])
  })
})

describe('a message that could not be read', () => {
  it('is told once after its time, with the reason', async () => {
    const { arrive, fail, messages, inbox } = rig({ healMs: 1 })
    fail(arrive(ana, 'msg')[0])
    fail(arrive(ana, 'msg')[0])
    await eventually(() => messages().length > 0)
    inbox.close()
    expect(messages()).toMatchObject([
      { whatsappId: 'A', content: { undecryptable: { reason: 'decryption_failed' } }, encHashes: [] },
    ])
  })

  it('and then heals is told as what it is, and never as unreadable', () => {
    const { arrive, fail, decrypt, messages, inbox } = rig()
    fail(arrive(ana, 'msg')[0])
    decrypt(arrive(ana, 'pkmsg')[0], text('healed'))
    inbox.close()
    expect(messages()).toMatchObject([{ content: { text: { body: 'healed' } } }])
  })

  it('is not healed by somebody else who takes its id', () => {
    const { arrive, fail, decrypt, messages, inbox } = rig()
    fail(arrive(ana, 'msg')[0])
    decrypt(arrive({ id: 'A', from: '5533@s.whatsapp.net' }, 'msg')[0], text('me first'))
    inbox.close()
    expect(messages()).toMatchObject([
      { sender: { waId: '5533' }, content: { type: 'text' } },
      { sender: { waId: '5522' }, content: { type: 'undecryptable' } },
    ])
  })
})

describe('a message without its payload', () => {
  const unavailable = (attrs: Record<string, string> = {}): BinaryNode => ({
    tag: 'message',
    attrs: { t: '7', notify: 'Ana', ...ana },
    content: [{ tag: 'unavailable', attrs }],
  })

  it('is completed by what the phone hands over, under the names it first had', () => {
    const { inbox, arrive, decrypt, messages } = rig()
    inbox.arrived(unavailable())
    const bytes = baileys.proto.WebMessageInfo.encode({
      key: { remoteJid: '5522@s.whatsapp.net', id: 'A' },
      message: text('from an advertisement'),
      messageTimestamp: 7,
    }).finish()
    const result = { placeholderMessageResendResponse: { webMessageInfoBytes: bytes } }
    const response = { peerDataOperationResult: [result] }
    const peer = { id: 'P', from: '5511@s.whatsapp.net', category: 'peer' }
    decrypt(arrive(peer, 'msg')[0], {
      protocolMessage: { type: 17, peerDataOperationRequestResponseMessage: response },
    })
    inbox.close()
    expect(messages()).toMatchObject([
      { whatsappId: 'A', sender: { waId: '5522', lid: '77' }, pushName: 'Ana', content: { type: 'text' } },
    ])
  })

  it.each([
    ['view_once', 'view_once'],
    ['view_once_unavailable_fanout', 'view_once'],
    ['bot_unavailable_fanout', 'bot'],
    ['hosted_unavailable_fanout', 'hosted'],
  ])('of the sort %s stays on the phone, and is told at once as %s', (type, kind) => {
    const { inbox, messages } = rig()
    inbox.arrived(unavailable({ type }))
    expect(messages()).toMatchObject([{ content: { unsupported: { kind } } }])
  })

  it('because an assistant wrote it, is told at once', () => {
    const { arrive, messages } = rig()
    arrive(ana, 'msmsg', 'msg')
    expect(messages()).toMatchObject([{ content: { unsupported: { kind: 'msmsg' } } }])
  })
})
