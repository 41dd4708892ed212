/** A chat whose two records are found to be one while messages are accepted for it. */
import sql from 'sql-template-tag'
import { expect, test } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { takeLease } from '../../../test/support/factories.js'
import { useInstance } from '../../../test/support/use-instance.js'
import { type ChatId, createIdGenerator, type InstanceId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { createAddressBook } from '../contacts/address-book.js'
import { type AcceptItem, acceptBatch } from './accept-store.js'
import { claimHeads } from './lane-store.js'
import { findMessage, listMessages } from './message-store.js'

const ids = createIdGenerator()
let db: Database
let tenantId: TenantId
let instanceId: InstanceId

useInstance((place) => {
  ;({ db, tenantId, instanceId } = place)
})

test('what was accepted while its chat was merged is in the one history, under either id of the chat', async () => {
  const book = createAddressBook({ db, ids })
  const winner = await book.chatWith(tenantId, instanceId, { kind: 'phone', value: '+5511987654321' })
  const loser = await book.chatWith(tenantId, instanceId, { kind: 'lid', value: '77' })
  const early = item(winner.chatId)
  const late = item(loser.chatId)
  await acceptBatch(db, [early])
  const outcome = await whileLaneIsHeld(loser.chatId, [
    () => book.learn(tenantId, { waId: '5511987654321', lid: '77' }),
    () => acceptBatch(db, [late]),
  ])
  expect(outcome).toEqual([undefined, ['accepted']])
  const [stored] = await db.query(sql`select chat_id as chat from message where id = ${late.messageId}`)
  // The case in question: it lies where the merge did not see it.
  expect(stored).toEqual({ chat: loser.chatId })

  for (const chatId of [winner.chatId, loser.chatId]) {
    const listed = await listMessages(db, tenantId, { chatId, limit: 10 })
    expect(listed.map(({ id }) => id)).toEqual([late.messageId, early.messageId])
    expect(await listMessages(db, tenantId, { chatId, limit: 1, before: late.messageId })).toMatchObject([
      { id: early.messageId },
    ])
  }
  expect(await findMessage(db, tenantId, late.messageId)).toMatchObject({
    chatId: winner.chatId,
    contactId: winner.contactId,
    phone: '+5511987654321',
  })
  const heads = await claimHeads(db, await takeLease(db, instanceId), instanceId, 10)
  expect(heads.map(({ messageId }) => messageId).toSorted()).toEqual([early.messageId, late.messageId].toSorted())
  expect(heads.every(({ phone, lid }) => phone === '+5511987654321' && lid === '77')).toBe(true)
})

/** Begins the works one after another, each when the one before waits for the lane; then lets them go on in that order. */
async function whileLaneIsHeld(chatId: ChatId, works: readonly (() => Promise<unknown>)[]): Promise<unknown[]> {
  const running: Promise<unknown>[] = []
  await db.tx(async (tx) => {
    await tx.query(sql`select from chat_lane where chat_id = ${chatId} for update`)
    for (const [index, work] of works.entries()) {
      running.push(work())
      await eventually(async () => (await waiting()) === index + 1, 'the next to wait for the lane')
    }
  })
  return Promise.all(running)
}

async function waiting(): Promise<number> {
  const [row] = await db.query<{ n: number }>(sql`
    select count(distinct pid)::int as n from pg_locks
    where not granted and pid in (select pid from pg_stat_activity where datname = current_database())`)
  return row?.n ?? 0
}

function item(chatId: ChatId): AcceptItem {
  return {
    messageId: ids.next('msg'),
    tenantId,
    instanceId,
    chatId,
    whatsappId: `3EB0${ids.next('msg')}`,
    content: { type: 'text', text: { body: 'oi' } },
    origin: 'api',
    metadata: null,
    eventId: ids.next('evt'),
    idempotency: null,
  }
}
