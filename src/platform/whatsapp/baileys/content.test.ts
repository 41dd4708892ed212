/** What one number writes, another reads: encode-content.ts and decode-content.ts against each other, over the wire's bytes. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type OutboundContent, outboundContent } from '../content.js'
import type { WhatsAppAddress } from '../jid.js'
import { openVote, optionHash } from '../poll-vote.js'
import type { MessageReference, SealedVote, SentMessage } from '../whatsapp.js'
import { type Decoded, decodeContent, decodeProtocol } from './decode-content.js'
import { type Encoding, encodeContent } from './encode-content.js'
import { type BaileysLibrary, loadBaileys } from './load.js'

const we: WhatsAppAddress = { waId: '5511900000001', lid: '9001' }
const ana: WhatsAppAddress = { waId: '5511900000002', lid: '9002' }
const bia: WhatsAppAddress = { waId: '5511900000003', lid: '9003' }
const group: WhatsAppAddress = { groupJid: '1203@g.us' }
const secret = Buffer.alloc(32, 7)
let baileys: BaileysLibrary

beforeAll(async () => {
  baileys = await loadBaileys()
})

function encode(content: OutboundContent, rest: Partial<SentMessage> = {}): Encoding {
  return encodeContent({ to: ana, content, ...rest }, { codec: baileys, me: we, now: 1_700_000_000_000 })
}

/** As Ana, or a member of the group, reads what we wrote. */
function read({ message }: Encoding, to: WhatsAppAddress = ana): Decoded | undefined {
  const { Message } = baileys.proto
  const wire = Message.decode(Message.encode(message).finish())
  const parties = { chat: to.groupJid ? to : we, sender: we, me: ana }
  const protocol = baileys.normalizeMessageContent(wire)?.protocolMessage
  return protocol ? decodeProtocol(baileys, protocol, parties) : decodeContent(baileys, wire, parties)
}

function sealed(said: Decoded | undefined): SealedVote {
  if (!said?.sealedVote) throw new Error('no vote')
  return said.sealedVote
}

describe.each<[string, OutboundContent]>([
  ['text', { type: 'text', text: { body: 'Olá 👋🏽 \u202Eabc' } }],
  [
    'text with mentions',
    { type: 'text', text: { body: '@5511900000003', mentions: ['5511900000003@s.whatsapp.net'] } },
  ],
  ['a place', { type: 'location', location: { latitude: -23.5, longitude: -46.6, name: 'HQ', address: 'Rua A' } }],
  ['a place without a name', { type: 'location', location: { latitude: 0, longitude: 0 } }],
  [
    'a card',
    { type: 'contacts', contacts: [{ name: { formattedName: 'Bia' }, phones: [{ phone: '+55 11', type: 'CELL' }] }] },
  ],
  [
    'cards',
    {
      type: 'contacts',
      contacts: [
        { name: { formattedName: 'Bia' }, phones: [] },
        { name: { formattedName: 'Cai' }, phones: [] },
      ],
    },
  ],
])('%s', (_name, content) => {
  it('is read as it was written, to a person and to a group', () => {
    expect(read(encode(content))).toEqual({ content })
    expect(read(encode(content, { to: group }), group)).toEqual({ content })
  })

  it('is read as an answer, to whom and to what', () => {
    const quoted: MessageReference = {
      whatsappId: 'A1',
      author: ana,
      content: { type: 'text', text: { body: 'what?' } },
    }
    expect(read(encode(content, { reference: quoted }))).toMatchObject({
      content,
      // Ana wrote what is quoted, and it is she who reads.
      reference: { whatsappId: 'A1', author: undefined },
    })
    const own = encode(content, { to: group, reference: { whatsappId: 'A2', author: undefined } })
    expect(read(own, group)?.reference).toMatchObject({ whatsappId: 'A2', author: { lid: we.lid } })
  })
})

describe('a poll', () => {
  const poll: OutboundContent = {
    type: 'poll',
    poll: { question: 'When?', options: ['now', 'later'], maxSelections: 1 },
  }

  it('is read with the key of its votes', () => {
    expect(read(encode(poll, { secret }))).toEqual({ content: poll, secret })
    const many: OutboundContent = { type: 'poll', poll: { ...poll.poll, maxSelections: 0 } }
    expect(read(encode(many, { secret }))).toEqual({ content: many, secret })
  })

  it('cannot be written without one', () => {
    expect(() => encode(poll)).toThrow('poll_without_secret')
  })

  it('takes votes that only who has the poll can read', () => {
    const vote: OutboundContent = { type: 'vote', vote: { messageId: 'msg_1', options: ['later'] } }
    const said = read(encode(vote, { secret, reference: { whatsappId: 'P1', author: ana } }))
    expect(said).toMatchObject({ content: { type: 'vote' }, reference: { whatsappId: 'P1', author: undefined } })
    const names = { pollId: 'P1', pollSecret: secret, pollAuthor: '5511900000002@s.whatsapp.net' }
    const opened = openVote({ ...names, voter: '5511900000001@s.whatsapp.net' }, sealed(said))
    expect(opened?.includes(optionHash('later'))).toBe(true)
    expect(openVote({ ...names, voter: '5511900000009@s.whatsapp.net' }, sealed(said))).toBeUndefined()
  })

  it('takes votes that Baileys reads as well', () => {
    const vote: OutboundContent = { type: 'vote', vote: { messageId: 'msg_1', options: ['now'] } }
    const { payload, iv } = sealed(read(encode(vote, { secret, reference: { whatsappId: 'P1', author: undefined } })))
    const jid = '5511900000001@s.whatsapp.net'
    const opened = baileys.decryptPollVote(
      { encPayload: payload, encIv: iv },
      { pollCreatorJid: jid, pollMsgId: 'P1', pollEncKey: secret, voterJid: jid },
    )
    expect(opened.selectedOptions?.map((hash) => Buffer.from(hash))).toEqual([optionHash('now')])
  })
})

describe('about another message', () => {
  it.each<[string, OutboundContent, object, Record<string, string>]>([
    [
      'a reaction',
      { type: 'reaction', reaction: { messageId: 'm', emoji: '👍🏽' } },
      { type: 'reaction', reaction: { emoji: '👍🏽' } },
      {},
    ],
    [
      'a reaction taken back',
      { type: 'reaction', reaction: { messageId: 'm', emoji: '' } },
      { type: 'reaction', reaction: { emoji: '' } },
      {},
    ],
    [
      'an edit',
      { type: 'edit', edit: { messageId: 'm', text: { body: 'new' } } },
      { type: 'edit', edit: { text: { body: 'new' } } },
      { edit: '1' },
    ],
    ['a deletion', { type: 'delete', delete: { messageId: 'm' } }, { type: 'delete', delete: {} }, { edit: '7' }],
  ])('%s names it', (_what, content, expected, attributes) => {
    const encoded = encode(content, { reference: { whatsappId: 'A1', author: undefined } })
    expect(encoded.attributes).toEqual(attributes)
    expect(read(encoded)).toEqual({ content: expected, reference: { whatsappId: 'A1', author: we } })
    const inGroup = encode(content, { to: group, reference: { whatsappId: 'A1', author: undefined } })
    expect(read(inGroup, group)).toMatchObject({ content: expected, reference: { whatsappId: 'A1', author: we } })
  })

  it('a reaction in a group may be to a third person', () => {
    const content: OutboundContent = { type: 'reaction', reaction: { messageId: 'm', emoji: '🎉' } }
    const encoded = encode(content, { to: group, reference: { whatsappId: 'B1', author: bia } })
    expect(read(encoded, group)?.reference).toEqual({ whatsappId: 'B1', author: { lid: bia.lid } })
  })

  it('a deletion by an admin says so', () => {
    const content: OutboundContent = { type: 'delete', delete: { messageId: 'm' } }
    expect(encode(content, { to: group, reference: { whatsappId: 'B1', author: bia } }).attributes).toEqual({
      edit: '8',
    })
  })

  it('cannot be written without it', () => {
    expect(() => encode({ type: 'delete', delete: { messageId: 'm' } })).toThrow('reference_missing')
  })
})

it('media is read with what its sender says of it, and the way to its bytes', () => {
  const said = decodeContent(
    baileys,
    {
      viewOnceMessage: {
        message: {
          imageMessage: {
            mimetype: 'image/jpeg',
            caption: 'look',
            fileLength: 42,
            width: 4,
            height: 3,
            url: 'https://x/y',
          },
        },
      },
    },
    { chat: ana, sender: ana, me: we },
  )
  expect(said?.content).toEqual({
    type: 'image',
    image: { mimeType: 'image/jpeg', caption: 'look', size: 42, width: 4, height: 3, viewOnce: true },
  })
  expect(baileys.proto.Message.decode(said?.mediaSource ?? Buffer.alloc(0)).imageMessage?.url).toBe('https://x/y')
})

describe('a file to be opened once', () => {
  function uploaded(field: string): Buffer {
    const { Message } = baileys.proto
    return Buffer.from(
      Message.encode(Message.fromObject({ [field]: { mimetype: 'any/thing', url: 'https://x/y' } })).finish(),
    )
  }

  it.each<[string, string, OutboundContent]>([
    ['imageMessage', 'viewOnceMessageV2', { type: 'image', image: { mediaId: 'm', viewOnce: true } }],
    ['videoMessage', 'viewOnceMessageV2', { type: 'video', video: { mediaId: 'm', viewOnce: true } }],
    [
      'audioMessage',
      'viewOnceMessageV2Extension',
      { type: 'audio', audio: { mediaId: 'm', voice: true, viewOnce: true } },
    ],
  ])('%s is written in %s, and read as one', (field, envelope, content) => {
    const encoded = encode(content, { media: uploaded(field) })
    expect(Object.keys(encoded.message)).toEqual([envelope])
    expect(read(encoded)?.content).toMatchObject({ type: content.type, [content.type]: { viewOnce: true } })
  })

  it.each<[string, object]>([
    ['a film that plays as a GIF', { type: 'video', video: { mediaId: 'm', gif: true, viewOnce: true } }],
    ['a sound that is no voice note', { type: 'audio', audio: { mediaId: 'm', viewOnce: true } }],
    ['a document', { type: 'document', document: { mediaId: 'm', viewOnce: true } }],
  ])('is not %s', (_name, content) => {
    expect(outboundContent.safeParse(content).success).toBe(false)
  })
})
