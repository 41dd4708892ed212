/** Contacts and chats that many make at the same time, in several processes, without a common lock. */
import sql from 'sql-template-tag'
import { expect, test } from 'vitest'
import { buildInstance } from '../../../test/support/factories.js'
import { useInstance } from '../../../test/support/use-instance.js'
import { createIdGenerator, type InstanceId, type TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import { type AddressBook, createAddressBook } from './address-book.js'
import type { Identity } from './recipient.js'

const ids = createIdGenerator()
const BOOKS = 4
let db: Database
let tenantId: TenantId
let instances: readonly InstanceId[]
let books: readonly AddressBook[]

useInstance(async (place) => {
  ;({ db, tenantId } = place)
  instances = [place.instanceId, await buildInstance(db, tenantId)]
  books = Array.from({ length: BOOKS }, () => createAddressBook({ db, ids }))
})

const phone = (value: string): Identity => ({ kind: 'phone', value })
const lid = (value: string): Identity => ({ kind: 'lid', value })

/** Each process asks for each identity on each number of ours, all at once, in an order of its own. */
async function all(identities: readonly Identity[]) {
  const asked = books.flatMap((book, turn) =>
    instances.flatMap((instanceId) =>
      shuffled(identities, turn).map(async (identity) => ({
        identity,
        instanceId,
        chat: await book.chatWith(tenantId, instanceId, identity),
      })),
    ),
  )
  return Promise.all(asked)
}

const shuffled = <Item>(items: readonly Item[], seed: number): Item[] =>
  items.toSorted(
    (one, other) => ((items.indexOf(one) * 7 + seed * 13) % 11) - ((items.indexOf(other) * 7 + seed * 13) % 11),
  )

async function countRows() {
  const [row] = await db.query<{ contacts: number; chats: number; lanes: number; strays: number }>(sql`
    select (select count(*)::int from contact where tenant_id = ${tenantId} and merged_into is null) as contacts,
      (select count(*)::int from chat where tenant_id = ${tenantId} and merged_into is null) as chats,
      (select count(*)::int from chat_lane join chat on chat.id = chat_id
        where chat.tenant_id = ${tenantId} and merged_into is null) as lanes,
      (select count(*)::int from contact c where c.tenant_id = ${tenantId} and c.merged_into is null
        and not exists (select from contact_identity where contact_id = c.id)) as strays`)
  return row
}

test('the same person is made once, by whichever spelling of the number', async () => {
  const spellings = ['+5511987654321', '+551187654321'].map(phone)
  const made = await all(spellings)
  expect(new Set(made.map(({ chat }) => chat.contactId)).size).toBe(1)
  expect(new Set(made.map(({ chat, instanceId }) => `${instanceId} ${chat.chatId}`)).size).toBe(instances.length)
  expect(await countRows()).toEqual({ contacts: 1, chats: 2, lanes: 2, strays: 0 })
})

test('different people are made apart, each once', async () => {
  const people = Array.from({ length: 150 }, (_, n) => n)
  const identities = people.flatMap((n) => [
    phone(`+55119${80_000_000 + n}`),
    phone(`+5511${80_000_000 + n}`),
    lid(String(9_000 + n)),
  ])
  const made = await all(identities)
  for (const { identity, chat } of made) {
    const [again] = await db.query<{ contactId: string }>(sql`
      select contact_id as "contactId" from contact_identity
      where tenant_id = ${tenantId} and kind = ${identity.kind} and value = ${identity.value}`)
    expect(again?.contactId).toBe(chat.contactId)
  }
  expect(await countRows()).toEqual({ contacts: 300, chats: 600, lanes: 600, strays: 0 })
})

test('people who are made while it is learned who they are end as one contact each', async () => {
  const people = Array.from({ length: 40 }, (_, n) => n)
  const learning = books.flatMap((book) =>
    people.map((n) => book.learn(tenantId, { waId: `55119${70_000_000 + n}`, lid: String(7_000 + n) })),
  )
  const making = all(people.flatMap((n) => [phone(`+55119${70_000_000 + n}`), lid(String(7_000 + n))]))
  await Promise.all([...learning, making])
  // Whoever was made twice before it was learned has been merged; whom nobody merged was made once.
  const fresh = createAddressBook({ db, ids })
  for (const n of people) {
    const [byPhone, byLid] = [phone(`+5511${70_000_000 + n}`), lid(String(7_000 + n))]
    const [instanceId = ids.next('ins')] = instances
    expect(await fresh.chatWith(tenantId, instanceId, byLid)).toEqual(
      await fresh.chatWith(tenantId, instanceId, byPhone),
    )
  }
  expect(await countRows()).toEqual({ contacts: 40, chats: 80, lanes: 80, strays: 0 })
})

test('the phone that views show is the one that was asked for', async () => {
  const [book] = books
  const [instanceId = ids.next('ins')] = instances
  const chat = await book?.chatWith(tenantId, instanceId, phone('+5511987654321'))
  const phones = await db.query<{ value: string }>(sql`
    select value from contact_identity where contact_id = ${chat?.contactId} order by since, value`)
  expect(phones).toEqual([{ value: '+5511987654321' }, { value: '+551187654321' }])
})
