/** A test database with gateways over it and what tests ask of it. One tenant for each test. */
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { createDataKeys, type DataKeys, kekOf } from '../../src/features/tenants/data-keys.js'
import { newKey } from '../../src/kernel/crypto.js'
import type { InstanceId, TenantId } from '../../src/kernel/ids.js'
import type { Database } from '../../src/platform/database/database.js'
import { instanceResource } from '../../src/platform/leases/lease.js'
import type { FakeConnection } from '../../src/platform/whatsapp/fake/fake-whatsapp.js'
import type { ConnectionEvent } from '../../src/platform/whatsapp/whatsapp.js'
import { createTestDatabase } from './database.js'
import { buildTenant } from './factories.js'
import { type Gateway, type GatewayOptions, startGateway, untilStatus } from './gateway.js'

export interface Connected {
  readonly gateway: Gateway
  readonly id: InstanceId
  readonly connection: FakeConnection
}

export interface GatewayWorld {
  readonly db: Database
  readonly url: string
  readonly dataKeys: DataKeys
  readonly tenantId: TenantId
  /** Before each test. */
  begin(): Promise<void>
  /** After each test: stops what was started, and leaves nothing that a later gateway would run. */
  end(): Promise<void>
  drop(): Promise<void>
  start(options?: Partial<GatewayOptions>): Promise<Gateway>
  /** An enabled instance of the test's tenant. */
  create(gateway: Gateway): Promise<InstanceId>
  /** A gateway with one instance, which is open. */
  connected(options?: Partial<GatewayOptions>): Promise<Connected>
  countCredentials(id: InstanceId): Promise<{ readonly live: number; readonly buried: number }>
  leaseOf(id: InstanceId): Promise<{ readonly holder: string | null; readonly epoch: bigint }>
  isPurged(id: InstanceId): Promise<boolean>
}

export const OPEN: ConnectionEvent = { type: 'open', waId: '5511987654321', lid: '77', pushName: 'Ana' }

export const qrEvent = (code: string): ConnectionEvent => ({
  type: 'qr',
  code,
  expiresAt: new Date(Date.now() + 20_000),
})

/** Journals a credential and waits until it is durable, as a provider does before a frame leaves. */
export async function journalCredential(
  { options: { journal } }: FakeConnection,
  kind: string,
  id: string,
  value: string,
): Promise<void> {
  await journal.whenDurable(journal.append({ changes: [{ kind, id, read: () => Buffer.from(value) }] }))
}

/** A world for the file, begun and ended with each of its tests. */
export function useGatewayWorld(begin: (world: GatewayWorld) => void): void {
  let world: GatewayWorld | undefined
  beforeAll(async () => {
    world = await createGatewayWorld()
    begin(world)
  })
  beforeEach(() => world?.begin())
  afterEach(() => world?.end())
  afterAll(() => world?.drop())
}

export async function createGatewayWorld(): Promise<GatewayWorld> {
  const { db, url, drop } = await createTestDatabase()
  const dataKeys = createDataKeys({ db, kek: kekOf(newKey()) })
  const started: Gateway[] = []
  let tenantId = await buildTenant(db)

  return {
    db,
    url,
    dataKeys,
    get tenantId() {
      return tenantId
    },
    async begin() {
      tenantId = await buildTenant(db)
    },
    async end() {
      await Promise.all(started.splice(0).map((gateway) => gateway.stop()))
      await db.execute(sql`update instance set enabled = false, deleted_at = now(), purged_at = now()`)
    },
    drop,
    start,
    create,
    async connected(options) {
      const gateway = await start(options)
      const id = await create(gateway)
      const connection = await gateway.whatsapp.connection(1)
      connection.emit({ type: 'loading' })
      connection.emit(OPEN)
      await untilStatus(db, id, 'CONNECTED')
      return { gateway, id, connection }
    },
    async countCredentials(id) {
      const [row] = await db.query<{ live: number; buried: number }>(sql`
        select (select count(*)::int from credential where instance_id = ${id}) as live,
          (select count(*)::int from credential_tombstone where instance_id = ${id}) as buried`)
      return row ?? { live: 0, buried: 0 }
    },
    async leaseOf(id) {
      const [row] = await db.query<{ holder: string | null; epoch: bigint }>(
        sql`select holder, epoch from lease where resource = ${instanceResource(id)}`,
      )
      return row ?? { holder: null, epoch: 0n }
    },
    async isPurged(id) {
      const rows = await db.query(sql`select from instance where id = ${id} and purged_at is not null`)
      return rows.length > 0
    },
  }

  async function start(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
    const gateway = await startGateway({ db, dataKeys, ...options })
    started.push(gateway)
    return gateway
  }

  async function create({ change }: Gateway): Promise<InstanceId> {
    const { id } = await change.create(tenantId, { name: 'shop', provider: 'baileys', enabled: true })
    return id
  }
}
