import type { proto } from 'baileys'
import { beforeAll, describe, expect, it } from 'vitest'
import { readPlaintext } from './inbound.js'
import { type BaileysLibrary, loadBaileys } from './load.js'
import { decodeRaw, type Envelope, encodeRaw } from './raw-entry.js'

let baileys: BaileysLibrary

beforeAll(async () => {
  baileys = await loadBaileys()
})

const me = { waId: '5511', lid: '99' }
const fromAna = { id: 'A', t: '7', from: '5522:3@s.whatsapp.net', sender_lid: '77:3@lid', notify: 'Ana' }
const ana = { waId: '5522', lid: '77' }
const text = { conversation: 'hi' }

/** As the sweep reads it: through the stored payload. */
function read(attrs: Record<string, string>, message: proto.IMessage) {
  const envelope: Envelope = { attrs, parts: [], me }
  const stored = encodeRaw({ envelope, plaintext: baileys.encodeWAMessage(message) })
  const entry = decodeRaw(stored)
  return readPlaintext(baileys, entry.envelope, entry.plaintext)
}

describe('the parties of a message', () => {
  it('from a person carry phone and LID, and no device', () => {
    expect(read(fromAna, text)).toEqual({
      kind: 'message',
      message: {
        whatsappId: 'A',
        chat: ana,
        sender: ana,
        pushName: 'Ana',
        at: new Date(7_000),
        content: { type: 'text', text: { body: 'hi' } },
        offline: false,
      },
    })
  })

  it('from a LID carry its phone where the stanza tells it', () => {
    const attrs = { id: 'A', t: '7', from: '77@lid', sender_pn: '5522@s.whatsapp.net' }
    expect(read(attrs, text)).toMatchObject({ message: { chat: ana, sender: ana } })
    expect(read({ ...attrs, sender_pn: '' }, text)).toMatchObject({ message: { chat: { lid: '77' } } })
  })

  it('written on our phone have no sender, and the recipient as chat', () => {
    const attrs = {
      id: 'A',
      t: '7',
      from: '5511@s.whatsapp.net',
      recipient: '5522@s.whatsapp.net',
      recipient_lid: '77@lid',
    }
    const message = { deviceSentMessage: { destinationJid: '5522@s.whatsapp.net', message: text } }
    expect(read(attrs, message)).toMatchObject({
      message: { chat: ana, sender: undefined, content: { text: { body: 'hi' } } },
    })
  })

  it('in a group are the group and its author, or nobody when we wrote it', () => {
    const attrs = { id: 'A', t: '7', from: '123@g.us', participant: '77:3@lid', participant_pn: '5522@s.whatsapp.net' }
    expect(read(attrs, text)).toMatchObject({ message: { chat: { groupJid: '123@g.us' }, sender: ana } })
    expect(read({ ...attrs, participant: '99:1@lid' }, text)).toMatchObject({ message: { sender: undefined } })
  })

  it('of a status are the status and its author', () => {
    const attrs = { ...fromAna, from: 'status@broadcast', participant: '77@lid', participant_pn: '5522@s.whatsapp.net' }
    expect(read(attrs, text)).toMatchObject({ message: { chat: { groupJid: 'status@broadcast' }, sender: ana } })
  })

  it('of a channel are no message of ours', () => {
    expect(read({ ...fromAna, from: '1@newsletter' }, text)).toEqual({ kind: 'other', as: 'newsletter' })
  })

  it('say that it waited while we were away', () => {
    expect(read({ ...fromAna, offline: '1' }, text)).toMatchObject({ message: { offline: true } })
  })
})

describe('the content of a message', () => {
  it.each<[string, proto.IMessage, object]>([
    ['plain text', text, { type: 'text', text: { body: 'hi' } }],
    ['text with a context', { extendedTextMessage: { text: 'hi' } }, { type: 'text', text: { body: 'hi' } }],
    ['text that disappears', { ephemeralMessage: { message: text } }, { type: 'text', text: { body: 'hi' } }],
    ['a picture', { imageMessage: { mimetype: 'image/png' } }, { type: 'image', image: { mimeType: 'image/png' } }],
    ['a reaction', { reactionMessage: { text: '👍' } }, { type: 'reaction', reaction: { emoji: '👍' } }],
    [
      'a poll',
      { pollCreationMessageV3: { name: '?' } },
      { type: 'poll', poll: { question: '?', options: [], maxSelections: 0 } },
    ],
    ['a product', { productMessage: {} }, { type: 'unsupported', unsupported: { kind: 'product' } }],
    ['a revocation', { protocolMessage: { type: 0 } }, { type: 'unsupported', unsupported: { kind: 'revoke' } }],
    [
      'an edit',
      { editedMessage: { message: { protocolMessage: { type: 14 } } } },
      { type: 'unsupported', unsupported: { kind: 'edit' } },
    ],
  ])('%s', (_what, message, content) => {
    expect(read(fromAna, message)).toMatchObject({ message: { content } })
  })

  it.each<[string, proto.IMessage]>([
    ['app-state-sync-key-share', { protocolMessage: { type: 6, appStateSyncKeyShare: {} } }],
    ['history-sync-notification', { protocolMessage: { type: 5, historySyncNotification: {} } }],
    ['ephemeral-setting', { protocolMessage: { type: 3 } }],
    ['sender-key-distribution', { senderKeyDistributionMessage: { groupId: '123@g.us' } }],
    ['empty', {}],
  ])('%s is settled by its kind', (as, message) => {
    expect(read(fromAna, message)).toEqual({ kind: 'other', as })
  })

  it('that is no message at all is named, not thrown about', () => {
    const reading = readPlaintext(baileys, { attrs: fromAna, parts: [], me }, Buffer.from([0xff, 0xff, 0xff, 1]))
    expect(reading).toMatchObject({
      message: { content: { type: 'unsupported', unsupported: { kind: 'unreadable' } } },
    })
  })
})

describe('a message that the phone hands over', () => {
  const resent = (bytes: Uint8Array): proto.IMessage => ({
    protocolMessage: {
      type: 17,
      peerDataOperationRequestResponseMessage: {
        peerDataOperationResult: [{ placeholderMessageResendResponse: { webMessageInfoBytes: bytes } }],
      },
    },
  })
  const original = () =>
    baileys.proto.WebMessageInfo.encode({
      key: { remoteJid: '5522@s.whatsapp.net', id: 'LOST', fromMe: false },
      message: text,
      messageTimestamp: 9,
    }).finish()

  it('is read as the message it was', () => {
    const attrs = { id: 'PEER', t: '10', from: '5511@s.whatsapp.net', category: 'peer' }
    expect(read(attrs, resent(original()))).toMatchObject({
      message: { whatsappId: 'LOST', chat: { waId: '5522' }, sender: { waId: '5522' }, at: new Date(9_000) },
    })
  })

  it('is nothing when anybody else sends it', () => {
    expect(read(fromAna, resent(original()))).toMatchObject({ kind: 'other' })
  })
})

it('a payload of another version is refused', () => {
  expect(() => decodeRaw(Buffer.from([9, 0, 0, 0, 0]))).toThrow('unknown version')
})
