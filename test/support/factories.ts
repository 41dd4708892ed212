/** Rows for tests, with overrides. Written as SQL, since they stand for what other features made. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { createIdGenerator, type InstanceId, type TenantId } from '../../src/kernel/ids.js'
import type { Database } from '../../src/platform/database/database.js'
import { type Incarnation, instanceResource, type Lease } from '../../src/platform/leases/lease.js'
import { createLeaseStore } from '../../src/platform/leases/lease-store.js'

const ids = createIdGenerator()

export async function buildTenant(db: Database, name = 'a tenant'): Promise<TenantId> {
  const id = ids.next('ten')
  await db.execute(sql`insert into tenant (id, name) values (${id}, ${name})`)
  return id
}

export interface InstanceOverrides {
  readonly name?: string
  readonly enabled?: boolean
  readonly connectionStatus?: string
}

export async function buildInstance(
  db: Database,
  tenantId: TenantId,
  overrides: InstanceOverrides = {},
): Promise<InstanceId> {
  const id = ids.next('ins')
  const { name = `instance ${id}`, enabled = true, connectionStatus = 'CONNECTED' } = overrides
  await db.execute(sql`
    insert into instance (id, tenant_id, name, enabled, connection_status)
    values (${id}, ${tenantId}, ${name}, ${enabled}, ${connectionStatus})`)
  return id
}

/** Takes an instance's lease outright; whoever held it is fenced. It never expires by itself. */
export async function takeLease(db: Database, instanceId: InstanceId): Promise<Lease> {
  const store = createLeaseStore(db, { advisoryLocks: false })
  const resource = instanceResource(instanceId)
  const [record] = await store.poll([resource])
  if (!record) throw new Error('no lease record')
  const token = randomUUID()
  const holder = randomUUID() as Incarnation
  const seen = { seenEpoch: record.epoch, seenRenewSeq: record.renewSeq, how: 'free' } as const
  const epoch = await store.take({ resource, holder, token, ...seen })
  if (epoch === undefined) throw new Error('somebody else took the lease')
  return { resource, epoch, token, isTrusted: () => true, signal: new AbortController().signal }
}
