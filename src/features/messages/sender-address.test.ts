/** Where the sender writes to: what WhatsApp says of a number, once, and what there is to do without one. */
import { tmpdir } from 'node:os'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { until } from '../../../test/support/gateway.js'
import { type Connected, createGatewayWorld, type GatewayWorld } from '../../../test/support/gateway-world.js'
import { systemClock } from '../../kernel/clock.js'
import { type ContactId, createIdGenerator } from '../../kernel/ids.js'
import { silentLogger } from '../../kernel/logger.js'
import { createEgress } from '../../platform/egress/http-client.js'
import { createDirectoryStorage } from '../../platform/media/fs.js'
import { type AddressBook, createAddressBook } from '../contacts/address-book.js'
import type { Identity } from '../contacts/recipient.js'
import { type AcceptItem, acceptBatch } from './accept-store.js'
import { createLinkPreviews } from './link-preview.js'
import { createOutboundMedia } from './outbound-media.js'
import { createSender, type Sender } from './sender.js'

const ids = createIdGenerator()
let world: GatewayWorld
let book: AddressBook
let sender: Sender

beforeAll(async () => {
  world = await createGatewayWorld()
})
beforeEach(async () => {
  await world.begin()
  book = createAddressBook({ db: world.db, ids })
  const { db, dataKeys } = world
  const media = createOutboundMedia({ db, dataKeys, storage: createDirectoryStorage(tmpdir()) })
  const previews = createLinkPreviews({ egress: createEgress({ allow: [], clock: systemClock }), clock: systemClock })
  sender = createSender({ db, addressBook: book, media, previews, clock: systemClock, ids, logger: silentLogger })
})
afterEach(() => world.end())
afterAll(() => world.drop())

const phone: Identity = { kind: 'phone', value: '+5511987654321' }
const connected = () => world.connected({ attachments: [sender] })

/** Accepts a message to somebody and waits for what becomes of it. */
async function send(
  { id }: Connected,
  to: Identity,
  prepare: (contactId: ContactId) => Promise<unknown> = async () => {},
) {
  const { chatId, contactId } = await book.chatWith(world.tenantId, id, to)
  await prepare(contactId)
  const messageId = ids.next('msg')
  const item: AcceptItem = {
    messageId,
    tenantId: world.tenantId,
    instanceId: id,
    chatId,
    whatsappId: `3EB0${messageId}`,
    content: { type: 'text', text: { body: 'oi' } },
    origin: 'api',
    metadata: null,
    eventId: ids.next('evt'),
    idempotency: null,
  }
  expect(await acceptBatch(world.db, [item])).toEqual(['accepted'])
  sender.wakeAll()
  return until(async () => {
    const [row] = await world.db.query<{ status: string; code: string | null }>(sql`
      select status, error_code as code from message where id = ${messageId} and status not in ('queued', 'sending')`)
    return row
  }, 'the message to be settled')
}

test('to the number that WhatsApp answers with, which may be another spelling, or another', async () => {
  const here = await connected()
  for (const answered of ['551187654321', '5511955556666']) {
    await world.db.execute(sql`update contact_identity set checked_at = null where tenant_id = ${world.tenantId}`)
    here.connection.answerChecks(() => ({ exists: true, waId: answered, lid: '77' }))
    expect(await send(here, phone)).toEqual({ status: 'sent', code: null })
    expect(here.connection.sent.at(-1)?.to).toMatchObject({ waId: answered, lid: '77' })
  }
})

test('WhatsApp is asked once: the answer goes for the next message, and for the other spelling', async () => {
  const here = await connected()
  const asked: string[] = []
  here.connection.answerChecks((waId) => {
    asked.push(waId)
    return { exists: true, waId: '551187654321' }
  })
  await send(here, phone)
  await send(here, phone)
  await send(here, { kind: 'phone', value: '+551187654321' })
  expect(asked).toEqual(['5511987654321'])
  expect(here.connection.sent.map(({ to }) => to.waId)).toEqual(['551187654321', '551187654321', '551187654321'])
})

test('a number that WhatsApp does not know fails, and is not asked about again at once', async () => {
  const here = await connected()
  let asked = 0
  here.connection.answerChecks(() => {
    asked += 1
    return { exists: false }
  })
  expect(await send(here, phone)).toEqual({ status: 'failed', code: 'not_on_whatsapp' })
  expect(await send(here, phone)).toEqual({ status: 'failed', code: 'not_on_whatsapp' })
  expect({ asked, sent: here.connection.sent }).toEqual({ asked: 1, sent: [] })
})

test('a LID is written to as it is, and nobody is asked', async () => {
  const here = await connected()
  here.connection.answerChecks(() => {
    throw new Error('asked')
  })
  expect(await send(here, { kind: 'lid', value: '77' })).toEqual({ status: 'sent', code: null })
  expect(here.connection.sent).toMatchObject([{ to: { lid: '77' } }])
})

test('a contact that has lost its number before the message left has no address', async () => {
  const here = await connected()
  const lose = (contactId: ContactId) =>
    world.db.execute(sql`delete from contact_identity where contact_id = ${contactId}`)
  expect(await send(here, phone, lose)).toEqual({ status: 'failed', code: 'no_address' })
  expect(here.connection.sent).toEqual([])
})
