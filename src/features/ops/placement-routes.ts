/** What an operator may order of who holds what: to drain a replica, to move one number. And who held a number before. */
import { z } from 'zod'
import { AppError } from '../../kernel/errors.js'
import { type IdGenerator, type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import type { Logger } from '../../kernel/logger.js'
import type { Database } from '../../platform/database/database.js'
import { type App, idParam, pageOf, pageQuery } from '../../platform/http/route.js'
import { record } from '../events/record.js'
import { findInstance } from '../instances/instance-store.js'
import { findGateways } from '../instances/placement-store.js'
import { DEFAULT_TENANT_ID } from '../tenants/tenant.js'
import { type HolderHistoryRow, listHolders } from './lease-history-store.js'
import {
  drainReplica,
  findHolder,
  findReplica,
  type HolderRow,
  insertMove,
  type ReplicaRow,
  undrainReplica,
} from './placement-orders-store.js'

export interface PlacementRoutesDeps {
  readonly db: Database
  readonly ids: IdGenerator
  readonly logger: Logger
}

const tags = ['Cluster']
/** A gateway that has not reported for so long takes nothing. */
const FRESH_MS = 30_000

const replicaName = z.string().regex(/^[\w.-]{1,100}$/, 'expected the name of a replica, as GET /api/cluster shows it')
const replicaView = z.object({
  replica: z.string(),
  drained: z.boolean(),
  held: z.int().meta({ description: 'Numbers that it still holds.' }),
})

export function placementRoutes(deps: PlacementRoutesDeps): (app: App) => void {
  return (app) => {
    addDrain(app, deps)
    addUndrain(app, deps)
    addMove(app, deps)
    addHolders(app, deps)
  }
}

function addDrain(app: App, { db, logger }: PlacementRoutesDeps): void {
  app.post(
    '/api/cluster/replicas/:name/drain',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Let a replica hand all its numbers over and take none',
        description:
          'For maintenance. It holds for the name, through restarts, until the replica is undrained. A number for which no other gateway has room stays where it is. Needs a key of the operator (tenant `default`), since it concerns all tenants.',
        params: z.object({ name: replicaName }),
        response: { 200: replicaView },
      },
    },
    async ({ auth, params: { name } }) => {
      onlyOperator(auth.tenantId)
      const before = await findReplica(db, name)
      if (before.processes === 0 && !before.drained) throw noReplica(name)
      await drainReplica(db, name)
      logger.warn('LEASE', 'replica drained by an operator', { replica: name, keyId: auth.keyId })
      return showReplica(name, await findReplica(db, name))
    },
  )
}

function addUndrain(app: App, { db, logger }: PlacementRoutesDeps): void {
  app.post(
    '/api/cluster/replicas/:name/undrain',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Let a drained replica take its share again',
        params: z.object({ name: replicaName }),
        response: { 200: replicaView },
      },
    },
    async ({ auth, params: { name } }) => {
      onlyOperator(auth.tenantId)
      const was = await undrainReplica(db, name)
      const now = await findReplica(db, name)
      if (!was && now.processes === 0) throw noReplica(name)
      if (was) logger.warn('LEASE', 'replica undrained', { replica: name, keyId: auth.keyId })
      return showReplica(name, now)
    },
  )
}

const moveView = z.object({
  instanceId: z.string(),
  from: z.string().nullable().meta({ description: 'The replica that holds it.' }),
  to: z.string().nullable().meta({ description: 'The replica that is to; null: any other gateway with room.' }),
  epoch: z.int().meta({ description: 'It has moved when GET /api/instances/:id shows an owner of a later epoch.' }),
})

function addMove(app: App, { db, ids, logger }: PlacementRoutesDeps): void {
  app.post(
    '/api/cluster/instances/:id/move',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Hand one number over to another gateway',
        description:
          'Its holder drains it, closes its connection in peace and releases it; the other one connects at once, without a QR. While a phone is being linked it stays. An order that cannot be carried out within two minutes is forgotten.',
        params: z.object({ id: idParam('ins') }),
        body: z
          .object({ to: replicaName.optional().meta({ description: 'A replica. Default: whoever has room.' }) })
          .default({}),
        response: { 202: moveView },
      },
    },
    async ({ auth: { tenantId, keyId }, params: { id }, body: { to } }, reply) => {
      await instanceOf(db, tenantId, id)
      const held = await findHolder(db, tenantId, id)
      if (!held?.holder) throw conflict('No gateway holds it; the first that has room takes it by itself.')
      await checkTarget(db, held, to)
      const { epoch, holder, replica } = held
      const [instanceId, fromHolder, toReplica] = [id, holder, to ?? null]
      await db.tx(async (tx) => {
        await insertMove(tx, { instanceId, epoch, fromHolder, toReplica })
        const data = { instanceId: publicId('ins', id), epoch: String(epoch), from: replica, to: toReplica }
        const event = {
          id: ids.next('evt'),
          tenantId,
          type: 'lease.move_ordered',
          instanceId,
          subjectId: id,
          data,
        } as const
        await record(tx, [event])
      })
      logger.info('LEASE', 'number moved by an operator', {
        ...{ instance: publicId('ins', id), from: replica, replica: toReplica, keyId },
      })
      return reply
        .code(202)
        .send({ instanceId: publicId('ins', id), from: replica, to: toReplica, epoch: Number(epoch) })
    },
  )
}

/** Throws `conflict` when nobody could take it. */
async function checkTarget(db: Database, { holder, replica }: HolderRow, to: string | undefined): Promise<void> {
  if (to !== undefined && to === replica) throw conflict(`${to} holds it already.`)
  const others = (await findGateways(db, FRESH_MS)).filter(({ id }) => id !== holder)
  const named = others.filter((gateway) => to === undefined || gateway.replica === to)
  if (named.length === 0) {
    throw conflict(to === undefined ? 'There is no other gateway.' : `No living gateway is of a replica called ${to}.`)
  }
  const taking = named.filter(({ takes }) => takes)
  if (taking.length === 0) throw conflict(`${to ?? 'Every other gateway'} is drained or stopping.`)
  if (taking.every(({ held, capacity }) => held >= capacity)) throw conflict(`${to ?? 'No other gateway'} has no room.`)
}

const holderView = z.object({
  epoch: z.int(),
  replica: z.string().nullable(),
  role: z.string().nullable(),
  slot: z.int().nullable(),
  takenAt: z.iso.datetime(),
  how: z.string().meta({
    description:
      'free: for the first time · released: its holder had given it back · own: taken anew by its own holder · dead: its holder had died · expired: its holder had not renewed for LEASE_TTL_MS',
  }),
  endedAt: z.iso.datetime().nullable().meta({ description: 'Null: it holds it now, or nobody has taken over yet.' }),
  why: z.string().nullable().meta({
    description: 'stopped, unwanted (disabled or deleted), balanced, drained, moved; or how the next one took it.',
  }),
})

function addHolders(app: App, { db }: PlacementRoutesDeps): void {
  app.get(
    '/api/instances/:id/holders',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'Which processes held an instance, the newest first',
        params: z.object({ id: idParam('ins') }),
        querystring: pageQuery.extend({
          cursor: z
            .string()
            .regex(/^\d{1,18}$/)
            .optional(),
        }),
        response: { 200: pageOf(holderView) },
      },
    },
    async ({ auth: { tenantId }, params: { id }, query: { limit, cursor } }) => {
      await instanceOf(db, tenantId, id)
      const before = cursor === undefined ? undefined : BigInt(cursor)
      const rows = await listHolders(db, { tenantId, instanceId: id }, { before, limit: limit + 1 })
      const page = rows.slice(0, limit)
      const nextCursor = rows.length > limit ? String(page.at(-1)?.epoch) : null
      return { data: page.map(showHolder), nextCursor }
    },
  )
}

// Helpers

/** A drain silences or moves the numbers of every tenant. */
function onlyOperator(tenantId: TenantId): void {
  if (tenantId === DEFAULT_TENANT_ID) return
  throw new AppError('forbidden_scope', {
    detail: 'Replicas belong to the operator: use an admin key of the tenant "default".',
  })
}

async function instanceOf(db: Database, tenantId: TenantId, id: InstanceId): Promise<void> {
  const row = await db.tenantTx(tenantId, (tx) => findInstance(tx, tenantId, id))
  if (!row) throw new AppError('not_found')
}

const conflict = (detail: string): AppError => new AppError('conflict', { detail })
const noReplica = (name: string): AppError => new AppError('not_found', { detail: `No replica is called ${name}.` })
const showReplica = (replica: string, { drained, held }: ReplicaRow): z.infer<typeof replicaView> => ({
  replica,
  drained,
  held,
})

const showHolder = ({ epoch, taken_at, ended_at, ...row }: HolderHistoryRow): z.infer<typeof holderView> => ({
  ...row,
  epoch: Number(epoch),
  takenAt: taken_at.toISOString(),
  endedAt: ended_at?.toISOString() ?? null,
})
