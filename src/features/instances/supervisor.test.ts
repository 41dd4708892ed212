import { setTimeout as delay } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { describe, expect, it } from 'vitest'
import { type Gateway, statusOf, storyOf, until, untilStatus } from '../../../test/support/gateway.js'
import {
  type GatewayWorld,
  journalCredential,
  OPEN,
  qrEvent,
  useGatewayWorld,
} from '../../../test/support/gateway-world.js'
import type { InstanceId } from '../../kernel/ids.js'
import { instanceResource } from '../../platform/leases/lease.js'
import { createLeaseKeeper, type LeaseKeeper, type LeaseKeeperOptions } from '../../platform/leases/lease-keeper.js'
import { createFakeWhatsapp } from '../../platform/whatsapp/fake/fake-whatsapp.js'
import { readQr } from './read-qr.js'
import type { SessionTimes } from './session-deps.js'

let world: GatewayWorld

useGatewayWorld((made) => {
  world = made
})

describe('a new instance', () => {
  it('shows a QR, is LOADING after the scan, restarts at once and is CONNECTED', async () => {
    const gateway = await world.start()
    const id = await world.create(gateway)
    const first = await gateway.whatsapp.connection(1)
    first.emit(qrEvent('code 1'))
    await untilStatus(world.db, id, 'QR_REQUIRED')
    expect(await read(gateway, id)).toMatchObject({
      code: 'code 1',
    })
    first.emit({ type: 'paired' })
    first.emit({ type: 'close', reason: 'RESTART_REQUIRED', detail: '515' })
    const second = await gateway.whatsapp.connection(2)
    second.emit({ type: 'loading' })
    second.emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
    expect(await storyOf(world.db, id)).toEqual([
      'lease.taken',
      'INITIALIZING/STARTING',
      'instance.qr_updated',
      'QR_REQUIRED',
      'LOADING',
      'CONNECTED',
    ])
    expect(await read(gateway, id)).toBe('connected')
    expect((await statusOf(world.db, id)).phone).toBe('+5511987654321')
  })

  it('keeps the QR sealed at rest and out of its events', async () => {
    const gateway = await world.start()
    const id = await world.create(gateway)
    ;(await gateway.whatsapp.connection(1)).emit(qrEvent('a secret code'))
    await untilStatus(world.db, id, 'QR_REQUIRED')
    const [row] = await world.db.query<{ found: boolean }>(sql`
      select exists (select from instance i where i::text like '%a secret code%')
        or exists (select from event e where e::text like '%a secret code%')
        or exists (select from instance where position('a secret code'::bytea in qr_sealed) > 0) as found`)
    expect(row?.found).toBe(false)
  })

  it('ends the QR session when nobody scans in time, and begins a new one when its owner restarts it', async () => {
    // Long enough for the second code to be read, short enough to wait for.
    const gateway = await world.start({ times: { qrSessionMs: 3_000 } })
    const id = await world.create(gateway)
    const first = await gateway.whatsapp.connection(1)
    first.emit(qrEvent('code 1'))
    await untilStatus(world.db, id, 'QR_REQUIRED/QR_EXPIRED')
    expect(first.endedBy).toBe('terminate')
    expect(await storyOf(world.db, id)).toContain('qr.expired')
    const waiting = read(gateway, id)
    await expect(waiting).rejects.toMatchObject({ code: 'qr_expired' })

    await gateway.change.restart(world.tenantId, id)
    ;(await gateway.whatsapp.connection(2)).emit(qrEvent('code 2'))
    const shown = await read(gateway, id)
    expect(shown).toMatchObject({ code: 'code 2' })
  })

  it('does not end the session of a QR that was scanned', async () => {
    const gateway = await world.start({ times: { qrSessionMs: 1_000 } })
    const id = await world.create(gateway)
    const first = await gateway.whatsapp.connection(1)
    first.emit(qrEvent('code 1'))
    first.emit({ type: 'paired' })
    await untilStatus(world.db, id, 'LOADING')
    await delay(1_200)
    expect(first.isClosed).toBe(false)
  })
})

describe('a gateway without a number of its own', () => {
  it('loads the library of its provider as soon as there is a number, and once', async () => {
    let loads = 0
    const provider = {
      ...createFakeWhatsapp().provider,
      async warmUp() {
        loads += 1
      },
    }
    const gateway = await world.start({ capacity: 0, provider, leaseTtlMs: 4_500 })
    await delay(300)
    expect(loads).toBe(0)
    await world.create(gateway)
    await expect.poll(() => loads).toBe(1)
    await gateway.change.create(world.tenantId, { name: 'another', provider: 'baileys', enabled: true })
    await delay(300)
    expect(loads).toBe(1)
  })
})

describe('a connected instance', () => {
  it('is connected by the next process without a QR, with what the first one journaled', async () => {
    const { gateway, id, connection } = await world.connected()
    await journalCredential(connection, 'creds', 'creds', 'the login')
    await gateway.stop()
    expect(connection.endedBy).toBe('close')
    await untilStatus(world.db, id, 'RECONNECTING/CLOSED')

    const next = await world.start()
    const again = await next.whatsapp.connection(1)
    expect(String(again.options.credentials.get('creds')?.get('creds'))).toBe('the login')
    again.emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
    expect((await storyOf(world.db, id)).slice(-4)).toEqual([
      'RECONNECTING/CLOSED',
      'lease.taken',
      'RECONNECTING/STARTING',
      'CONNECTED',
    ])
  })

  it('reconnects after a loss, and gives up after 20 attempts in vain until its owner restarts it', async () => {
    const { gateway, id } = await world.connected()
    for (let number = 1; number <= 21; number++) {
      const connection = await gateway.whatsapp.connection(number)
      connection.emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'gone' })
    }
    expect(await untilStatus(world.db, id, 'DISCONNECTED/ATTEMPTS_EXHAUSTED')).toMatchObject({ attempt: 20 })
    expect(gateway.whatsapp.connections).toHaveLength(21)

    await gateway.change.restart(world.tenantId, id)
    ;(await gateway.whatsapp.connection(22)).emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
  })

  it('forgets earlier failures once a connection is stable', async () => {
    const { gateway, id } = await world.connected({ times: { stableAfterMs: 20 } })
    ;(await gateway.whatsapp.connection(1)).emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'gone' })
    ;(await gateway.whatsapp.connection(2)).emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
    await until(async () => (await statusOf(world.db, id)).attempt === 0)
  })

  it('is AUTH_FAILURE after WhatsApp logged it out: credentials are buried, nothing is retried, a restart asks for a QR', async () => {
    const { gateway, id, connection } = await world.connected()
    await journalCredential(connection, 'creds', 'creds', 'the login')
    connection.emit({ type: 'close', reason: 'LOGOUT', detail: '401' })
    expect(await untilStatus(world.db, id, 'AUTH_FAILURE/LOGOUT')).toMatchObject({ enabled: true, phone: null })
    expect((await world.countCredentials(id)).live).toBe(0)
    expect((await world.countCredentials(id)).buried).toBe(1)
    const waiting = read(gateway, id)
    await expect(waiting).rejects.toMatchObject({ code: 'session_ended' })

    await gateway.stop()
    const next = await world.start()
    await until(() => next.supervisor.count().held === 1)
    await untilStatus(world.db, id, 'AUTH_FAILURE/LOGOUT')
    await next.change.restart(world.tenantId, id)
    const fresh = await next.whatsapp.connection(1)
    expect(fresh.options.credentials.size).toBe(0)
  })

  it('is healed when it is open but silent', async () => {
    const { gateway, id, connection } = await silentSoon()
    connection.emit(OPEN)
    await gateway.whatsapp.connection(2)
    expect(connection.endedBy).toBe('terminate')
    expect(await storyOf(world.db, id)).toContain('CONNECTED')
  })

  it('goes on with a provider that never confirms its end', async () => {
    const { gateway, id, connection } = await silentSoon({ closeGraceMs: 50 })
    connection.hang()
    connection.emit(OPEN)
    await gateway.whatsapp.connection(2)
    expect(await storyOf(world.db, id)).toContain('CONNECTED')
  })

  it('is not begun again on this process while its last session is still ending', async () => {
    let options: LeaseKeeperOptions | undefined
    let keeper: LeaseKeeper | undefined
    const { gateway, id, connection } = await world.connected({
      createKeeper(given) {
        options = given
        keeper = createLeaseKeeper(given)
        return keeper
      },
    })
    const resource = instanceResource(id)
    const lease = keeper?.held(resource)
    if (!lease) throw new Error('not held')
    connection.hang()
    keeper?.forfeit(lease, 'uncertain_write')
    expect(options?.mayAcquire?.(resource, 'own')).toBe(false)
    await keeper?.acquire(resource)
    expect(keeper?.held(resource)).toBeUndefined()
    connection.emit({ type: 'close', reason: 'LEASE_LOST', detail: 'at last' })
    ;(await gateway.whatsapp.connection(2)).emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
  })
})

describe('the owner', () => {
  it('disables: the connection is closed in peace and the lease given back; enables: it connects again', async () => {
    const { gateway, id, connection } = await world.connected()
    await gateway.change.disable(world.tenantId, id)
    await until(async () => (await world.leaseOf(id)).holder === null)
    expect(connection.endedBy).toBe('close')
    expect(await statusOf(world.db, id)).toMatchObject({ status: 'DISCONNECTED', reason: 'DISABLED' })
    await expect(gateway.change.restart(world.tenantId, id)).rejects.toMatchObject({ code: 'instance_disabled' })

    await gateway.change.enable(world.tenantId, id)
    ;(await gateway.whatsapp.connection(2)).emit(OPEN)
    await untilStatus(world.db, id, 'CONNECTED')
  })

  it('restarts a running connection', async () => {
    const { gateway, id, connection } = await world.connected()
    expect(await gateway.change.restart(world.tenantId, id)).toMatchObject({
      status: 'RECONNECTING',
      reason: 'RESTART',
    })
    expect(connection.endedBy).toBe('close')
    await gateway.whatsapp.connection(2)
  })

  it('logs out: WhatsApp is told, the credentials are buried', async () => {
    const { gateway, id, connection } = await world.connected()
    await journalCredential(connection, 'creds', 'creds', 'the login')
    const row = await gateway.change.logout(world.tenantId, id)
    expect(row).toMatchObject({ status: 'AUTH_FAILURE', reason: 'LOGOUT' })
    expect(connection.endedBy).toBe('logout')
    expect((await world.countCredentials(id)).live).toBe(0)
    await gateway.change.enable(world.tenantId, id)
    await gateway.whatsapp.connection(2)
  })

  it('cannot log out a number that is not connected now: WhatsApp would not hear of it', async () => {
    const { gateway, id, connection } = await world.connected({ policy: { baseMs: 60_000 } })
    connection.emit({ type: 'close', reason: 'CONNECTION_LOST', detail: 'gone' })
    await untilStatus(world.db, id, 'RECONNECTING/CONNECTION_LOST')
    await expect(gateway.change.logout(world.tenantId, id)).rejects.toMatchObject({ code: 'instance_not_connected' })
  })

  it('a log-out that was claimed behind a restart is refused, not pretended', async () => {
    const { gateway, id, connection } = await world.connected()
    await journalCredential(connection, 'creds', 'creds', 'the login')
    await world.db.execute(sql`
      insert into instance_command (id, tenant_id, instance_id, kind, expires_at)
      select uuid_v7(), ${world.tenantId}, ${id}, kind, now() + interval '1 minute'
      from unnest(array['restart', 'logout']) with ordinality as k (kind, ord), pg_sleep(ord * 0.005)`)
    const answers = await until(async () => {
      const rows = await world.db.query<{ kind: string; status: string; result: object }>(sql`
        select kind, status, result from instance_command
        where instance_id = ${id} and status in ('done', 'failed') order by id`)
      return rows.length === 2 && rows
    })
    expect(answers).toEqual([
      { kind: 'restart', status: 'done', result: {} },
      { kind: 'logout', status: 'failed', result: { code: 'instance_not_connected' } },
    ])
    expect(connection.endedBy).toBe('close')
    expect((await world.countCredentials(id)).live).toBe(1)
    await gateway.whatsapp.connection(2)
  })

  it('gets a typed error when WhatsApp does not confirm, or when no process runs the instance', async () => {
    const { gateway, id, connection } = await world.connected({ commandDeadlineMs: 300 })
    connection.hang()
    await expect(gateway.change.logout(world.tenantId, id)).rejects.toMatchObject({ code: 'command_timeout' })
    connection.emit({ type: 'close', reason: 'LOGOUT', detail: 'at last' })
    await untilStatus(world.db, id, 'AUTH_FAILURE/LOGOUT')
    await gateway.supervisor.stop()
    await expect(gateway.change.restart(world.tenantId, id)).rejects.toMatchObject({ code: 'command_timeout' })
    const [left] = await world.db.query<{ n: number }>(
      sql`select count(*)::int as n from instance_command where instance_id = ${id} and status = 'pending'`,
    )
    expect(left?.n).toBe(0)
  })

  it('deletes: WhatsApp is told, every secret is purged, the name is free', async () => {
    const { gateway, id, connection } = await world.connected()
    await journalCredential(connection, 'creds', 'creds', 'the login')
    await gateway.change.remove(world.tenantId, id)
    await until(async () => (await world.leaseOf(id)).holder === null && (await world.isPurged(id)))
    expect(connection.endedBy).toBe('logout')
    expect((await world.countCredentials(id)).live).toBe(0)
    expect((await world.countCredentials(id)).buried).toBe(0)
    await world.create(gateway)
  })

  it('deletes what others keep for the instance: at once, and again when its secrets are purged', async () => {
    const told: string[] = []
    const { gateway, id } = await world.connected({
      async onDeleted(tx, tenantId, instanceId) {
        const [row] = await tx.query<{ purged: boolean }>(sql`
          select purged_at is not null as purged from instance
          where id = ${instanceId} and tenant_id = ${tenantId} and deleted_at is not null`)
        told.push(row?.purged ? 'purged' : 'deleted')
      },
    })
    await world.db.execute(sql`
      insert into early_receipt (instance_id, tenant_id, whatsapp_id, status, at)
      values (${id}, ${world.tenantId}, 'never sent by us', 'read', now())`)
    await gateway.change.set(world.tenantId, id, { name: 'still here' })
    expect(told).toEqual([])
    await gateway.change.remove(world.tenantId, id)
    expect(told[0]).toBe('deleted')
    await until(() => world.isPurged(id))
    expect(told).toEqual(['deleted', 'purged'])
    const left = await world.db.query(sql`
      select from early_receipt where instance_id = ${id} union all select from data_key where id = ${id}`)
    expect(left).toEqual([])
  })

  it('deletes a number that is not running: it connects once more, to log out', async () => {
    const { gateway, id, connection } = await world.connected()
    await journalCredential(connection, 'creds', 'creds', 'the login')
    await gateway.change.disable(world.tenantId, id)
    await until(async () => (await world.leaseOf(id)).holder === null)
    await gateway.change.remove(world.tenantId, id)
    const last = await gateway.whatsapp.connection(2)
    last.emit(OPEN)
    await until(() => world.isPurged(id))
    expect(last.endedBy).toBe('logout')
  })
})

// Helpers

/** A number that is about to open, and that nobody waits for: it may be found silent at any time after. */
async function silentSoon(times: Partial<SessionTimes> = {}) {
  const health = { checkEveryMs: 20, silentAfterMs: 60, loadingStuckAfterMs: 60_000, initializingStuckAfterMs: 60_000 }
  const gateway = await world.start({ times: { health, ...times } })
  const id = await world.create(gateway)
  return { gateway, id, connection: await gateway.whatsapp.connection(1) }
}

const read = ({ news }: Gateway, instanceId: InstanceId) =>
  readQr({ db: world.db, dataKeys: world.dataKeys, news }, { tenantId: world.tenantId, instanceId }, 30_000)
