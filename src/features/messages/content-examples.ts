/** One example of each content, for the OpenAPI document: as it is sent, and as it stands in a message. */

const instanceId = 'ins_01J8Z3V9K7QW5XN2M4T6R8Y0BC'
const messageId = 'msg_01J8Z3V9K7QW5XN2M4T6R8Y0BC'
const to = '+5511987654321'
const media = { mimeType: 'image/jpeg', size: 48_213, sha256: `9f86d081884c7d65${'0'.repeat(48)}` }

const texts = {
  text: { body: 'Olá, @5511976543210!', mentions: ['5511976543210@s.whatsapp.net'] },
  location: { latitude: -23.5614, longitude: -46.6559, name: 'MASP', address: 'Av. Paulista, 1578' },
  contacts: [
    {
      name: { formattedName: 'Ana Souza', firstName: 'Ana' },
      phones: [{ phone: '+55 11 97654-3210', type: 'CELL', waId: '5511976543210' }],
    },
  ],
  poll: { question: 'When?', options: ['Today', 'Tomorrow'], maxSelections: 1 },
}
const about = {
  vote: { messageId, options: ['Tomorrow'] },
  reaction: { messageId, emoji: '👍' },
  edit: { messageId, text: { body: 'Olá, de novo' } },
  delete: { messageId },
}
const receivedMedia = {
  image: { ...media, caption: 'Our menu', width: 1280, height: 960 },
  video: { ...media, mimeType: 'video/mp4', seconds: 12 },
  audio: { ...media, mimeType: 'audio/ogg; codecs=opus', voice: true, seconds: 7 },
  document: { ...media, mimeType: 'application/pdf', filename: 'invoice.pdf' },
  sticker: { ...media, mimeType: 'image/webp', animated: false },
}

const mediaId = 'med_01J8Z3V9K7QW5XN2M4T6R8Y0BC'
const sentMedia = {
  image: { link: 'https://shop.example/menu.jpg', caption: 'Our menu' },
  video: { mediaId, gif: true },
  audio: { mediaId, voice: true },
  document: { mediaId, filename: 'invoice.pdf' },
  sticker: { mediaId },
}
const file = {
  ...{ id: mediaId, state: 'stored', ...media, filename: null, width: 1280, height: 960, seconds: null, error: null },
  links: { content: `/api/media/${mediaId}` },
}

/** Bodies of POST /api/messages. */
export const sendExamples = [
  ...Object.entries({ ...texts, ...sentMedia }).map(([type, content]) => ({ instanceId, to, type, [type]: content })),
  { instanceId, to, type: 'image', image: { mediaId, viewOnce: true } },
  ...Object.entries(about).map(([type, content]) => ({ instanceId, type, [type]: content })),
]
const received = {
  id: messageId,
  whatsappId: '3EB0C767D26A8A9F2B41',
  instanceId,
  direction: 'inbound',
  chat: {
    id: 'cht_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
    contactId: 'con_01J8Z3V9K7QW5XN2M4T6R8Y0BC',
    phone: to,
    lid: '152414302263064',
    username: null,
    bsuid: null,
    waId: '5511987654321',
    name: 'Ana',
    groupJid: null,
  },
  sender: null,
  status: 'received',
  statusAt: {
    queued: null,
    sent: null,
    delivered: null,
    read: null,
    played: null,
    failed: null,
    received: '2026-11-21T12:00:00.000Z',
  },
  context: null,
  media: null,
  editedAt: null,
  deletedAt: null,
  holdReason: null,
  error: null,
  origin: 'contact',
  metadata: null,
  createdAt: '2026-11-21T12:00:00.000Z',
}
const context = { messageId, whatsappId: '3EB0C767D26A8A9F2B41' }

/** Messages as the API and webhooks show them. */
export const messageExamples = [
  ...Object.entries(texts).map(([type, content]) => ({ ...received, type, [type]: content })),
  ...Object.entries(receivedMedia).map(([type, content]) => {
    return { ...received, type, [type]: content, media: { ...file, mimeType: content.mimeType } }
  }),
  { ...received, type: 'image', image: { ...media, viewOnce: true }, media: file },
  ...Object.entries(about).map(([type, content]) => ({ ...received, type, [type]: content, context })),
  { ...received, type: 'unsupported', unsupported: { kind: 'product' } },
  { ...received, type: 'unsupported', unsupported: { kind: 'view_once' } },
  { ...received, type: 'undecryptable', undecryptable: { reason: 'decryption_failed' } },
]

/** A chat as the list of chats shows it. */
export const chatExample = {
  ...received.chat,
  instanceId,
  lastMessage: {
    ...{ id: messageId, direction: 'inbound', sender: null, type: 'text', preview: 'Olá, @5511976543210!' },
    ...{ status: 'received', deletedAt: null, createdAt: '2026-11-21T12:00:00.000Z' },
  },
} as const
