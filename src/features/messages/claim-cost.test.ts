import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { type ChatId, createIdGenerator, type InstanceId, type TenantId } from '../../kernel/ids.js'
import type { Database, Queryable } from '../../platform/database/database.js'
import { createPostgres } from '../../platform/database/postgres.js'
import type { Lease } from '../../platform/leases/lease.js'
import { createAddressBook } from '../contacts/address-book.js'
import { acceptBatch } from './accept-store.js'
import { claimHeads } from './lane-store.js'

const ids = createIdGenerator()
let test: TestDatabase
let db: Database
let tenantId: TenantId
let instanceId: InstanceId
let lease: Lease

beforeAll(async () => {
  test = await createTestDatabase()
  db = test.db
  tenantId = await buildTenant(db)
  instanceId = await buildInstance(db, tenantId)
  lease = await takeLease(db, instanceId)
})
afterAll(() => test.drop())

const chatWith = async (phone: string): Promise<ChatId> =>
  (await createAddressBook({ db, ids }).chatWith(tenantId, instanceId, { kind: 'phone', value: phone })).chatId

const accept = (chatId: ChatId): Promise<unknown> =>
  acceptBatch(db, [
    {
      ...{ tenantId, instanceId, chatId, messageId: ids.next('msg'), eventId: ids.next('evt') },
      whatsappId: `3EB0${randomBytes(9).toString('hex').toUpperCase()}`,
      content: { type: 'text', text: { body: 'Olá' } },
      ...{ origin: 'api', metadata: null, idempotency: null },
    },
  ])

/** So many messages of the chat are over; the next one is its head. */
async function addHistory(chatId: ChatId, count: number): Promise<void> {
  await db.execute(sql`
    insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status, chat_seq)
    select uuid_v7(), ${tenantId}, ${instanceId}, ${chatId}, 'outbound', 'H' || gen_random_uuid(), 'text', '{}', 'api',
      'sent', n from generate_series(1, ${count}::int) n`)
  await db.execute(sql`
    update chat_lane set head_seq = ${count}::int + 1, next_seq = ${count}::int + 1 where chat_id = ${chatId}`)
}

/** So many chats with one message that came in: the planner takes a chat for a handful of messages. */
async function addShortChats(count: number): Promise<void> {
  await db.execute(sql`
    with made as materialized (
      select uuid_v7() as contact_id, uuid_v7() as chat_id from generate_series(1, ${count}::int)
    ), contacts as (
      insert into contact (id, tenant_id) select contact_id, ${tenantId} from made
    ), chats as (
      insert into chat (id, tenant_id, instance_id, contact_id)
      select chat_id, ${tenantId}, ${instanceId}, contact_id from made
    )
    insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status)
    select uuid_v7(), ${tenantId}, ${instanceId}, chat_id, 'inbound', 'I' || gen_random_uuid(), 'text', '{}', 'contact',
      'received' from made`)
  await analyze()
}

/** So many chats, each with one message to send now. */
async function addDueLanes(toInstance: InstanceId, count: number): Promise<void> {
  await db.execute(sql`
    with made as materialized (
      select uuid_v7() as contact_id, uuid_v7() as chat_id from generate_series(1, ${count}::int)
    ), contacts as (
      insert into contact (id, tenant_id) select contact_id, ${tenantId} from made
    ), chats as (
      insert into chat (id, tenant_id, instance_id, contact_id)
      select chat_id, ${tenantId}, ${toInstance}, contact_id from made
    ), lanes as (
      insert into chat_lane (chat_id, tenant_id, instance_id, next_seq, head_due_at)
      select chat_id, ${tenantId}, ${toInstance}, 2, now() from made
      on conflict (chat_id) do update set next_seq = 2, head_due_at = now()
    )
    insert into message (id, tenant_id, instance_id, chat_id, direction, whatsapp_id, type, content, origin, status, chat_seq)
    select uuid_v7(), ${tenantId}, ${toInstance}, chat_id, 'outbound', 'D' || gen_random_uuid(), 'text', '{}', 'api',
      'queued', 1 from made`)
  await analyze()
}

async function analyze(): Promise<void> {
  const owner = createPostgres({ url: test.url, max: 1, applicationName: 'test', onError: () => {}, systemRole: null })
  await owner.execute(sql`analyze`)
  await owner.close()
}

/** Blocks that a claim of what is due reads; it is rolled back. */
async function claimBlocks(): Promise<number> {
  let blocks = Number.NaN
  let claimed = 0
  const explaining = db.tx(async (tx) => {
    const explained: Queryable = {
      ...tx,
      async query(statement) {
        const [row] = await tx.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
          sql`explain (analyze, buffers, format json) ${statement}`,
        )
        const plan = row?.['QUERY PLAN'][0]?.Plan ?? {}
        blocks = (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0)
        claimed = plan['Actual Rows'] ?? 0
        return []
      },
    }
    await claimHeads(explained, lease, instanceId, 16)
    throw new Error('roll back')
  })
  await expect(explaining).rejects.toThrow('roll back')
  expect(claimed).toBe(1)
  return blocks
}

describe('a claim', () => {
  it('reads as little in a chat of 20,000 messages as in a new one', async () => {
    const chatId = await chatWith('+5511987654321')
    await addShortChats(2_000)
    await accept(chatId)
    const few = await claimBlocks()
    await claimHeads(db, lease, instanceId, 16)
    const long = await chatWith('+5511900000001')
    await addHistory(long, 20_000)
    await accept(long)
    expect(await claimBlocks()).toBeLessThan(few * 2)
  })
})

describe('many lanes that are due', () => {
  it('leave a claim the plan that it keeps: planning takes longer than claiming', async () => {
    const elsewhere = await buildInstance(db, tenantId)
    await addDueLanes(elsewhere, 5_000)
    const holder = await takeLease(db, elsewhere)
    const session = createPostgres({ url: test.url, max: 1, applicationName: 'test', onError: () => {} })
    // PostgreSQL plans a statement five times for its values before it considers to keep a plan.
    for (let turn = 0; turn < 8; turn++) expect(await claimHeads(session, holder, elsewhere, 16)).toHaveLength(16)
    const [kept] = await session.query<{ uses: number }>(
      sql`select generic_plans::int as uses from pg_prepared_statements where name = 'claim-heads'`,
    )
    await session.close()
    expect(kept?.uses).toBe(3)
  })
})

describe('the indexes of messages', () => {
  it('mention nothing that the steps of a message change, so that a step writes none of them', async () => {
    const indexes = await db.query<{ definition: string }>(
      sql`select pg_get_indexdef(indexrelid) as definition from pg_index where indrelid = 'message'::regclass`,
    )
    expect(indexes.length).toBeGreaterThan(3)
    const changing = /\b(status|hold_reason|attempts|strikes|epoch|error_code|error_detail|\w+_at)\b/
    expect(indexes.filter(({ definition }) => changing.test(definition))).toEqual([])
  })
})
