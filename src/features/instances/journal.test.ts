import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, onServer, type TestDatabase } from '../../../test/support/database.js'
import { buildInstance, buildTenant, takeLease } from '../../../test/support/factories.js'
import { until } from '../../../test/support/gateway.js'
import { systemClock } from '../../kernel/clock.js'
import { newKey } from '../../kernel/crypto.js'
import type { TenantId } from '../../kernel/ids.js'
import type { Database } from '../../platform/database/database.js'
import type { Lease } from '../../platform/leases/lease.js'
import type { CredentialChange, JournalEntry } from '../../platform/whatsapp/whatsapp.js'
import { createDataKeys, type DataKeys, kekOf } from '../tenants/data-keys.js'
import { findRaw, loadCredentials } from './credentials.js'
import type { InstanceRef } from './instance.js'
import { createJournalWriter, type JournalWriterOptions } from './journal.js'

let database: TestDatabase
let tenantId: TenantId
let dataKeys: DataKeys

beforeAll(async () => {
  database = await createTestDatabase()
  tenantId = await buildTenant(database.db)
  dataKeys = createDataKeys({ db: database.db, kek: kekOf(newKey()) })
})
afterAll(() => database.drop())

describe('the journal', () => {
  it('has written a change when its position is durable', async () => {
    const { owner, lease, journal } = await openOne()
    const position = journal.append({ changes: [set('session', 'peer.0', 'ratchet 1')] })
    await journal.whenDurable(position)
    expect(journal.durable).toBe(position)
    expect(await stored(owner, lease)).toEqual({ 'session/peer.0': 'ratchet 1' })
  })

  it('writes the last of many changes of a key, once, and reads no other', async () => {
    const { owner, lease, journal, flushes } = await openOne()
    let reads = 0
    for (let step = 1; step <= 50; step++) {
      const read = (): Buffer => {
        reads += 1
        return Buffer.from(`ratchet ${step}`)
      }
      journal.append({ changes: [{ kind: 'session', id: 'peer.0', read }] })
    }
    await journal.whenDurable(journal.tail)
    expect({ reads, flushes: flushes() }).toEqual({ reads: 1, flushes: 1 })
    expect(await stored(owner, lease)).toEqual({ 'session/peer.0': 'ratchet 50' })
  })

  it('deletes a key whose last value is null', async () => {
    const { owner, lease, journal } = await openOne()
    journal.append({ changes: [set('pre-key', '1', 'a'), set('pre-key', '2', 'b')] })
    await journal.whenDurable(journal.tail)
    journal.append({ changes: [{ kind: 'pre-key', id: '1', read: () => null }] })
    await journal.whenDurable(journal.tail)
    expect(await stored(owner, lease)).toEqual({ 'pre-key/2': 'b' })
  })

  it('writes 812 pre-keys in one statement', async () => {
    const { owner, lease, journal, flushes } = await openOne()
    journal.append({ changes: Array.from({ length: 812 }, (_, id) => set('pre-key', String(id), `key ${id}`)) })
    await journal.whenDurable(journal.tail)
    expect(flushes()).toBe(1)
    expect(Object.keys(await stored(owner, lease))).toHaveLength(812)
  })

  it('stores a ratchet step and the message that moved it in one statement', async () => {
    const { owner, lease, journal, flushes } = await openOne()
    const entry = inboundEntry('hash 1', 'hello', set('session', 'peer.0', 'ratchet 1'))
    await journal.whenDurable(journal.append(entry))
    expect(flushes()).toBe(1)
    expect(await stored(owner, lease)).toEqual({ 'session/peer.0': 'ratchet 1' })
    expect(String(await findRaw(database.db, dataKeys, owner, Buffer.from('hash 1')))).toBe('hello')
  })

  it('keeps the first raw entry of a payload that comes again', async () => {
    const { owner, journal } = await openOne()
    await journal.whenDurable(journal.append(inboundEntry('hash 1', 'first')))
    await journal.whenDurable(journal.append(inboundEntry('hash 1', 'second')))
    expect(String(await findRaw(database.db, dataKeys, owner, Buffer.from('hash 1')))).toBe('first')
  })

  it('makes durable what nobody waits for', async () => {
    const { journal } = await openOne()
    const position = journal.append({ changes: [set('creds', 'creds', 'me')] })
    await until(() => journal.durable >= position)
  })

  it('flushes one statement at a time, and everything appended meanwhile in the next one', async () => {
    const gate = gatedDatabase()
    const { journal, flushes } = await openOne({ db: gate.db })
    const first = journal.whenDurable(journal.append({ changes: [set('session', 'a', '1')] }))
    await gate.arrived(1)
    const rest = Array.from({ length: 20 }, (_, index) =>
      journal.whenDurable(journal.append({ changes: [set('session', `b${index}`, '1')] })),
    )
    expect(flushes()).toBe(1)
    gate.open()
    await Promise.all([first, ...rest])
    expect(flushes()).toBe(2)
  })

  it('resolves positions in order', async () => {
    const { journal } = await openOne()
    const order: number[] = []
    const positions = [1, 2, 3, 4].map(() => journal.append({ changes: [set('session', 'a', '1')] }))
    await Promise.all(
      positions.reverse().map((position) => journal.whenDurable(position).then(() => order.push(position))),
    )
    expect(order).toEqual([1, 2, 3, 4])
  })
})

describe('a journal whose lease was taken over', () => {
  it('writes nothing and says so, while the other numbers of the same flush are written', async () => {
    const gate = gatedDatabase()
    const writer = writerOn(gate.db)
    const numbers = await Promise.all([newNumber(), newNumber(), newNumber()])
    const journals = await Promise.all(numbers.map(({ owner, lease }) => writer.open(lease, owner)))
    const zombie = 1
    const heir = await takeLease(database.db, numbers[zombie]?.owner.instanceId ?? missing())
    gate.open()
    const outcomes = await Promise.allSettled(
      journals.map((journal) =>
        journal.whenDurable(journal.append(inboundEntry('hash', 'hello', set('session', 'peer.0', 'ratchet 1')))),
      ),
    )
    expect(gate.flushes()).toBe(1)
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(journals[zombie]?.failed.reason).toMatchObject({ reason: 'LEASE_LOST' })
    for (const [index, { owner, lease }] of numbers.entries()) {
      const expected = index === zombie ? {} : { 'session/peer.0': 'ratchet 1' }
      expect(await stored(owner, index === zombie ? heir : lease)).toEqual(expected)
      expect((await findRaw(database.db, dataKeys, owner, Buffer.from('hash'))) === undefined).toBe(index === zombie)
    }
  })

  it('cannot load credentials either', async () => {
    const { owner, lease } = await openOne()
    await takeLease(database.db, owner.instanceId)
    await expect(loadCredentials(database.db, dataKeys, owner, lease)).rejects.toMatchObject({ code: 'lease_lost' })
  })
})

describe('a journal that cannot write', () => {
  it('rejects all who wait after its limit, and no later journal waits behind it', async () => {
    const gate = gatedDatabase()
    // Of the stuck one, which has to run out, and of the next one, which must not.
    const writer = writerOn(gate.db, { limitMs: 2_000 })
    const { owner, lease } = await newNumber()
    const journal = await writer.open(lease, owner)
    const stuck = journal.whenDurable(journal.append({ changes: [set('session', 'a', 'stuck')] }))
    await expect(stuck).rejects.toMatchObject({ reason: 'NOT_DURABLE' })
    expect(journal.failed.aborted).toBe(true)
    await expect(journal.whenDurable(journal.append({}))).rejects.toMatchObject({ reason: 'NOT_DURABLE' })

    gate.openForNew()
    const heir = await takeLease(database.db, owner.instanceId)
    const next = await writer.open(heir, owner)
    await next.whenDurable(next.append({ changes: [set('session', 'a', 'new')] }))
    // The statement that was given up arrives at last: the new epoch refuses it.
    gate.open()
    await gate.settled()
    expect(await stored(owner, heir)).toEqual({ 'session/a': 'new' })
  })

  it('counts the limit of each waiter from when it asked', async () => {
    const gate = gatedDatabase()
    const writer = writerOn(gate.db, { limitMs: 300 })
    const [first, second] = await Promise.all([newNumber(), newNumber()])
    const journals = [await writer.open(first.lease, first.owner), await writer.open(second.lease, second.owner)]
    const outcomes = journals.map(async (journal, index) => {
      if (index === 1) await gate.arrived(1)
      await journal.whenDurable(journal.append({ changes: [set('session', 'a', '1')] }))
    })
    expect((await Promise.allSettled(outcomes)).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    gate.open()
    await gate.settled()
  })

  it('rejects and writes nothing when its connection is killed in the middle', async () => {
    const { owner, lease, journal } = await openOne()
    await database.db.tx(async (tx) => {
      await tx.query(sql`select from lease where resource = ${lease.resource} for update`)
      const waiting = journal.whenDurable(journal.append({ changes: [set('session', 'a', '1')] }))
      const outcome = waiting.catch((error: unknown) => error)
      await until(async () => (await killWaiters()) > 0)
      expect(await outcome).toMatchObject({ reason: 'NOT_DURABLE' })
    })
    expect(await stored(owner, lease)).toEqual({})
  })

  it.each([
    ['before-inbound-store', { 'session/peer.0': undefined, raw: undefined }],
    ['after-inbound-store', { 'session/peer.0': 'ratchet 1', raw: 'hello' }],
    ['after-ratchet', { 'session/peer.0': 'ratchet 1', raw: 'hello' }],
  ] as const)('that ends at %s has stored ratchet step and message together, or neither', async (point, expected) => {
    const crash = (reached: string): void => {
      if (reached === point) throw new Error('the process ends here')
    }
    const { owner, lease, journal } = await openOne({ crashPoint: crash })
    const entry = inboundEntry('hash', 'hello', set('session', 'peer.0', 'ratchet 1'))
    await expect(journal.whenDurable(journal.append(entry))).rejects.toMatchObject({ reason: 'NOT_DURABLE' })
    const raw = await findRaw(database.db, dataKeys, owner, Buffer.from('hash'))
    expect({ ...(await stored(owner, lease)), raw: raw?.toString() }).toEqual(expected)
  })

  it('costs only the number whose value cannot be read', async () => {
    const writer = writerOn(database.db)
    const [good, bad] = await Promise.all([newNumber(), newNumber()])
    const [goodJournal, badJournal] = [
      await writer.open(good.lease, good.owner),
      await writer.open(bad.lease, bad.owner),
    ]
    const unreadable = (): Buffer => {
      throw new Error('cannot encode')
    }
    const broken = badJournal.whenDurable(badJournal.append({ changes: [{ kind: 'k', id: 'i', read: unreadable }] }))
    await Promise.all([
      expect(broken).rejects.toMatchObject({ reason: 'NOT_DURABLE' }),
      goodJournal.whenDurable(goodJournal.append({ changes: [set('session', 'a', '1')] })),
    ])
  })
})

it('a number whose page PostgreSQL refuses ends alone, however many share the flush', async () => {
  const writer = writerOn(database.db)
  const numbers = await Promise.all([newNumber(), newNumber(), newNumber()])
  const journals = await Promise.all(numbers.map(({ lease, owner }) => writer.open(lease, owner)))
  // No text of PostgreSQL can hold this character.
  const ids = ['fine', 'poi\u0000son', 'fine']
  const written = journals.map((journal, index) =>
    journal.whenDurable(journal.append({ changes: [set('session', ids[index] ?? missing(), 'kept')] })),
  )
  const settled = await Promise.allSettled(written)
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(journals.map(({ failed }) => failed.aborted)).toEqual([false, true, false])
  for (const index of [0, 2]) {
    const { owner, lease } = numbers[index] ?? missing()
    expect(await stored(owner, lease)).toEqual({ 'session/fine': 'kept' })
  }
})

describe('the end of a journal', () => {
  it('makes the rest durable when it is closed', async () => {
    const { owner, lease, journal } = await openOne()
    journal.append({ changes: [set('session', 'a', 'last')] })
    await journal.close()
    expect(await stored(owner, lease)).toEqual({ 'session/a': 'last' })
    expect(journal.failed.aborted).toBe(false)
  })

  it('writes nothing more when it is abandoned', async () => {
    const { owner, lease, journal } = await openOne()
    const waiting = journal.whenDurable(journal.append({ changes: [set('session', 'a', 'lost')] }))
    journal.abandon()
    await expect(waiting).rejects.toMatchObject({ reason: 'NOT_DURABLE' })
    expect(await stored(owner, lease)).toEqual({})
  })
})

describe('credentials at rest', () => {
  it('are sealed, and do not open in another row', async () => {
    const { owner, lease, journal } = await openOne()
    journal.append({ changes: [set('creds', 'creds', 'a private key'), set('session', 'a', 'another')] })
    await journal.whenDurable(journal.tail)
    const rows = await database.db.query<{ sealed: Buffer }>(
      sql`select sealed from credential where instance_id = ${owner.instanceId}`,
    )
    expect(rows.some(({ sealed }) => sealed.includes('private'))).toBe(false)
    await database.db.execute(sql`
      update credential set sealed = (select sealed from credential
        where instance_id = ${owner.instanceId} and kind = 'session')
      where instance_id = ${owner.instanceId} and kind = 'creds'`)
    await expect(loadCredentials(database.db, dataKeys, owner, lease)).rejects.toMatchObject({
      code: 'encryption_key_mismatch',
    })
  })
})

// Helpers

async function newNumber(): Promise<{ owner: InstanceRef; lease: Lease }> {
  const instanceId = await buildInstance(database.db, tenantId)
  return { owner: { tenantId, instanceId }, lease: await takeLease(database.db, instanceId) }
}

function writerOn(db: Database, options: Partial<JournalWriterOptions> = {}) {
  return createJournalWriter({ db, dataKeys, clock: systemClock, ...options })
}

async function openOne(options: Partial<JournalWriterOptions> = {}) {
  const counted = countFlushes(options.db ?? database.db)
  const number = await newNumber()
  const journal = await writerOn(counted.db, { ...options, db: counted.db }).open(number.lease, number.owner)
  return { ...number, journal, flushes: counted.flushes }
}

const set = (kind: string, id: string, value: string): CredentialChange => ({
  kind,
  id,
  read: () => Buffer.from(value),
})

const inboundEntry = (hash: string, payload: string, ...changes: CredentialChange[]): JournalEntry => ({
  changes,
  inbound: { encHash: Buffer.from(hash), payload: Buffer.from(payload) },
})

async function stored(owner: InstanceRef, lease: Lease): Promise<Record<string, string>> {
  const snapshot = await loadCredentials(database.db, dataKeys, owner, lease)
  return Object.fromEntries(
    [...snapshot].flatMap(([kind, values]) => [...values].map(([id, value]) => [`${kind}/${id}`, String(value)])),
  )
}

function countFlushes(db: Database) {
  let flushes = 0
  const counted: Database = {
    ...db,
    query(statement, name) {
      if (name === 'journal_flush') flushes += 1
      return db.query(statement, name)
    },
  }
  return { db: counted, flushes: () => flushes }
}

/** A database whose journal flushes wait at a gate, as on a network that has stopped. */
function gatedDatabase() {
  const { db } = database
  const held: (() => void)[] = []
  const running: Promise<unknown>[] = []
  let isOpen = false
  let openForNew = false
  let flushes = 0
  const gated: Database = {
    ...db,
    async query(statement, name) {
      if (name !== 'journal_flush') return db.query(statement, name)
      flushes += 1
      if (!isOpen && !openForNew) await new Promise<void>((resolve) => held.push(resolve))
      const result = db.query<never>(statement, name)
      running.push(result)
      return result
    },
  }
  return {
    db: gated,
    flushes: () => flushes,
    arrived: (count: number) => until(() => flushes >= count),
    openForNew: () => {
      openForNew = true
    },
    open: () => {
      isOpen = true
      for (const release of held.splice(0)) release()
    },
    settled: async () => {
      await until(() => running.length === flushes)
      await Promise.allSettled(running)
    },
  }
}

/** As superuser: the product's role may not see or end what others run. */
function killWaiters(): Promise<number> {
  return onServer(database.url, async (query) => {
    const killed = await query(`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and pid <> pg_backend_pid()`)
    return killed.length
  })
}

function missing(): never {
  throw new Error('missing')
}
