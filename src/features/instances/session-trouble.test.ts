import sql from 'sql-template-tag'
import { describe, expect, it } from 'vitest'
import { onServer } from '../../../test/support/database.js'
import { takeLease } from '../../../test/support/factories.js'
import { statusOf, storyOf, until, untilStatus } from '../../../test/support/gateway.js'
import { type GatewayWorld, journalCredential, OPEN, useGatewayWorld } from '../../../test/support/gateway-world.js'
import type { Database } from '../../platform/database/database.js'
import type { SessionAttachment } from './session-attachment.js'

let world: GatewayWorld

useGatewayWorld((made) => {
  world = made
})

describe('a holder that was taken over', () => {
  it('cuts its socket, writes neither keys nor status, and leaves the word to the new holder', async () => {
    const { id, connection } = await world.connected()
    await journalCredential(connection, 'session', 'peer.0', 'ratchet 1')
    await takeLease(world.db, id)
    const late = connection.options.journal
    const change = { kind: 'session', id: 'peer.0', read: () => Buffer.from('a zombie') }
    await expect(late.whenDurable(late.append({ changes: [change] }))).rejects.toMatchObject({ reason: 'LEASE_LOST' })
    await until(() => connection.isClosed)
    connection.emit({ type: 'close', reason: 'LOGOUT', detail: 'too late' })
    expect(connection.endedBy).toBe('terminate')
    expect(await statusOf(world.db, id)).toMatchObject({ status: 'CONNECTED' })
    expect((await world.countCredentials(id)).live).toBe(1)
    await until(async () => (await storyOf(world.db, id)).includes('lease.lost'))
  })

  it('stops in silence when it was replaced, because the lease is not its own any more', async () => {
    const { gateway, id, connection } = await world.connected()
    await takeLease(world.db, id)
    connection.emit({ type: 'close', reason: 'REPLACED', detail: '440' })
    await until(() => gateway.supervisor.count().held === 0)
    expect(await statusOf(world.db, id)).toMatchObject({ status: 'CONNECTED' })
  })
})

describe('a database in trouble', () => {
  it('after a write whose outcome is unknown, the number goes on under a new epoch, from what was stored', async () => {
    const broken = breakableFlushes()
    const { gateway, id, connection } = await world.connected({ db: broken.db })
    await journalCredential(connection, 'session', 'peer.0', 'ratchet 1')
    broken.breakNext()
    await expect(journalCredential(connection, 'session', 'peer.0', 'ratchet 2')).rejects.toMatchObject({
      reason: 'NOT_DURABLE',
    })
    const second = await gateway.whatsapp.connection(2)
    expect(connection.endedBy).toBe('terminate')
    expect(String(second.options.credentials.get('session')?.get('peer.0'))).toBe('ratchet 1')
    expect((await world.leaseOf(id)).epoch).toBe(2n)
    second.emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
    expect((await storyOf(world.db, id)).slice(-4)).toEqual([
      'lease.lost',
      'lease.taken',
      'RECONNECTING/NOT_DURABLE',
      'CONNECTED',
    ])
    // The write that was given up arrives after all, and is refused.
    await broken.mend()
    await journalCredential(second, 'session', 'peer.1', 'more')
    const [row] = await world.db.query<{ n: number }>(
      sql`select count(*)::int as n from credential where instance_id = ${id} and id = 'peer.0'`,
    )
    expect(row?.n).toBe(1)
    await gateway.stop()
    const next = await world.start()
    const third = await next.whatsapp.connection(1)
    expect(String(third.options.credentials.get('session')?.get('peer.0'))).toBe('ratchet 1')
  })

  it('writes the status in the end, though its connections were cut', async () => {
    const { id, connection } = await world.connected({ policy: { baseMs: 60_000 } })
    await onServer(world.url, (query) =>
      query(`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()`),
    )
    connection.emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'gone' })
    await until(() => untilStatus(world.db, id, 'RECONNECTING/CONNECTION_LOST').catch(() => undefined))
  })
})

describe('a pairing that WhatsApp never heard of', () => {
  it('is put away, and a new one begun without its owner', async () => {
    const gateway = await world.start({ policy: { baseMs: 1, jitterMs: 1 } })
    const id = await world.create(gateway)
    const first = await gateway.whatsapp.connection(1)
    await journalCredential(first, 'creds', 'creds', 'a login that was kept, and never told')
    first.emit({ type: 'close', reason: 'LOGOUT', detail: '401' })
    const second = await gateway.whatsapp.connection(2)
    expect(second.options.credentials.size).toBe(0)
    expect(await world.countCredentials(id)).toEqual({ live: 0, buried: 1 })
    expect(await storyOf(world.db, id)).toContain('INITIALIZING/PAIRING_INTERRUPTED')
    second.emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
    second.emit({ type: 'close', reason: 'LOGOUT', detail: 'removed on the phone' })
    await untilStatus(world.db, id, 'AUTH_FAILURE/LOGOUT')
  })
})

describe('two clients with the same credentials', () => {
  it('make the holder wait 30 s or more', async () => {
    const { id, connection } = await world.connected({ policy: { replacedBaseMs: 30_000, maxMs: 300_000 } })
    connection.emit({ type: 'close', reason: 'REPLACED', detail: '440' })
    const row = await untilStatus(world.db, id, 'RECONNECTING/REPLACED')
    expect(row.retryInMs).toBeGreaterThan(10_000)
  })

  it('make it stop, with a reason, the fourth time in 5 minutes', async () => {
    const { gateway, id } = await world.connected({ policy: { replacedBaseMs: 1 } })
    for (let number = 1; number <= 4; number++) {
      ;(await gateway.whatsapp.connection(number)).emit({ type: 'close', reason: 'REPLACED', detail: '440' })
    }
    await untilStatus(world.db, id, 'DISCONNECTED/REPLACED')
  })
})

describe('credentials that cannot be opened', () => {
  it('make it AUTH_FAILURE and are left as they are', async () => {
    const { gateway, id, connection } = await world.connected()
    await journalCredential(connection, 'creds', 'creds', 'the login')
    await gateway.stop()
    await world.db.execute(sql`update credential set sealed = '\x01020304' where instance_id = ${id}`)
    const next = await world.start()
    await untilStatus(world.db, id, 'AUTH_FAILURE/BAD_CREDENTIALS')
    expect((await world.countCredentials(id)).live).toBe(1)
    expect(next.whatsapp.connections).toHaveLength(0)
  })
})

describe('attachments', () => {
  it('recover first, then get every event in order, and hear of the open after its event', async () => {
    const seen: string[] = []
    const attachment: SessionAttachment = {
      acquired: async () => void seen.push('acquired'),
      opened: () => void seen.push('opened'),
      received: async (_session, { type }) => void seen.push(type),
      closing: async () => void seen.push('closing'),
    }
    const { gateway, connection } = await world.connected({ attachments: [attachment] })
    connection.emit({ type: 'alive' })
    connection.emit({ type: 'identity', waId: '1', lid: '2' })
    await gateway.stop()
    expect(seen).toEqual(['acquired', 'loading', 'open', 'opened', 'alive', 'identity', 'closing', 'close'])
  })

  it('that fail end the connection, not the process, and it connects again', async () => {
    let failures = 0
    const attachment: SessionAttachment = {
      async received(_session, event) {
        if (event.type === 'identity' && failures++ === 0) throw new Error('cannot store')
      },
    }
    const { gateway, id, connection } = await world.connected({ attachments: [attachment] })
    connection.emit({ type: 'identity', waId: '1', lid: '2' })
    ;(await gateway.whatsapp.connection(2)).emit(OPEN)
    expect(connection.endedBy).toBe('terminate')
    await untilStatus(world.db, id, 'CONNECTED')
  })

  it('that cannot recover are asked again before anything connects', async () => {
    let tries = 0
    const attachment: SessionAttachment = {
      async acquired() {
        tries += 1
        if (tries === 1) throw new Error('cannot recover yet')
      },
    }
    const gateway = await world.start({ attachments: [attachment] })
    await world.create(gateway)
    await gateway.whatsapp.connection(1)
    expect(tries).toBe(2)
  })

  it('have their session signal aborted as soon as the connection ends', async () => {
    let signal: AbortSignal | undefined
    const attachment: SessionAttachment = {
      opened(session) {
        signal = session.signal
      },
    }
    const { connection } = await world.connected({ attachments: [attachment] })
    await until(() => signal)
    connection.emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'gone' })
    expect(signal?.aborted).toBe(true)
  })
})

describe('two processes', () => {
  it('run each instance once, and hand over in peace without waiting for the TTL', async () => {
    const { gateway, id } = await world.connected({ leaseTtlMs: 45_000 })
    const second = await world.start({ leaseTtlMs: 45_000 })
    await until(() => gateway.supervisor.count().held === 1)
    expect(second.supervisor.count().held).toBe(0)
    await gateway.stop()
    ;(await second.whatsapp.connection(1)).emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
  })
})

// Helpers

/** A database that fails a journal flush without running it, and runs it when nobody waits for it any more. */
function breakableFlushes() {
  const { db } = world
  let breaksNext = false
  let late: () => Promise<unknown> = async () => {}
  const broken: Database = {
    ...db,
    query(statement, name) {
      if (name !== 'journal_flush' || !breaksNext) return db.query(statement, name)
      breaksNext = false
      late = () => db.query(statement, name)
      return Promise.reject(new Error('Connection terminated unexpectedly'))
    },
  }
  return {
    db: broken,
    breakNext: () => {
      breaksNext = true
    },
    mend: () => late(),
  }
}
