/** What an owner does to an instance: create, set, enable, disable, restart, log out, delete. */
import type { Clock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { type IdGenerator, type InstanceId, publicId, type TenantId } from '../../kernel/ids.js'
import { type Database, sqlState, type Tx } from '../../platform/database/database.js'
import { record } from '../events/record.js'
import { commandInstance } from './command-instance.js'
import { advance, type Happening, type InstanceState } from './instance.js'
import {
  findInstance,
  type InstanceRow,
  type InstanceSettings,
  insertInstance,
  lockInstance,
  type OwnersWord,
  saveOwnersWord,
  updateSettings,
} from './instance-store.js'
import type { News } from './news.js'
import type { OnDeleted } from './session-deps.js'

export interface ChangeInstanceDeps {
  readonly db: Database
  readonly ids: IdGenerator
  readonly clock: Clock
  readonly news: News
  /** What else ends with an instance, in the transaction that deletes it: before any event of that is recorded. */
  readonly onDeleted?: OnDeleted
  /** How long a holder may take to obey, in ms. */
  readonly commandDeadlineMs?: number
}

export interface ChangeInstance {
  create(
    tenantId: TenantId,
    wanted: { readonly name: string; readonly provider: string; readonly enabled: boolean },
  ): Promise<InstanceRow>
  set(tenantId: TenantId, id: InstanceId, settings: InstanceSettings): Promise<InstanceRow>
  /** Also begins again what waits for its owner. */
  enable(tenantId: TenantId, id: InstanceId): Promise<InstanceRow>
  disable(tenantId: TenantId, id: InstanceId): Promise<InstanceRow>
  /** Resolves when the holder has begun anew. */
  restart(tenantId: TenantId, id: InstanceId): Promise<InstanceRow>
  /** Resolves when WhatsApp has removed the device. */
  logout(tenantId: TenantId, id: InstanceId): Promise<InstanceRow>
  /** A holder then logs it out and purges its secrets. */
  remove(tenantId: TenantId, id: InstanceId): Promise<void>
}

const UNIQUE_VIOLATION = '23505'

export function createChangeInstance(deps: ChangeInstanceDeps): ChangeInstance {
  const { db, ids, clock, news, commandDeadlineMs } = deps
  const commands = { db, ids, news, ...(commandDeadlineMs === undefined ? {} : { deadlineMs: commandDeadlineMs }) }

  return {
    async create(tenantId, { name, provider, enabled }) {
      const fresh: InstanceState = { status: 'INITIALIZING', reason: null, since: now() }
      const state = enabled ? fresh : advance(fresh, { what: 'disabled' }, fresh.since)
      const instance = { id: ids.next('ins'), name, provider, enabled, state }
      const row = await db.tenantTx(tenantId, (tx) => insertInstance(tx, tenantId, instance))
      if (!row) throw nameTaken(name)
      return row
    },
    set,
    async enable(tenantId, id) {
      const { row, was } = await change(tenantId, id, (before) =>
        before.enabled ? undefined : word(before, { what: 'enabled', known: before.phone !== null }, { enabled: true }),
      )
      if (!was.enabled || !isAtRest(row)) return row
      await commandInstance(commands, { tenantId, instanceId: id }, 'restart')
      return find(tenantId, id)
    },
    async disable(tenantId, id) {
      const { row } = await change(tenantId, id, (before) =>
        before.enabled ? word(before, { what: 'disabled' }, { enabled: false }) : undefined,
      )
      return row
    },
    restart: (tenantId, id) => command(tenantId, id, 'restart'),
    logout: (tenantId, id) => command(tenantId, id, 'logout'),
    async remove(tenantId, id) {
      await change(tenantId, id, (before) => word(before, { what: 'deleted' }, { enabled: false, deleted: true }))
    },
  }

  async function set(tenantId: TenantId, id: InstanceId, settings: InstanceSettings): Promise<InstanceRow> {
    try {
      return found(await db.tenantTx(tenantId, (tx) => updateSettings(tx, tenantId, id, settings)))
    } catch (error) {
      if (sqlState(error) === UNIQUE_VIOLATION) throw nameTaken(settings.name ?? '')
      throw error
    }
  }

  async function command(tenantId: TenantId, id: InstanceId, kind: 'restart' | 'logout'): Promise<InstanceRow> {
    if (!(await find(tenantId, id)).enabled) throw new AppError('instance_disabled')
    await commandInstance(commands, { tenantId, instanceId: id }, kind)
    return find(tenantId, id)
  }

  async function find(tenantId: TenantId, id: InstanceId): Promise<InstanceRow> {
    return found(await db.tenantTx(tenantId, (tx) => findInstance(tx, tenantId, id)))
  }

  /** Decides on the locked row and saves what was decided, with its event, in one transaction. */
  function change(
    tenantId: TenantId,
    id: InstanceId,
    decide: (before: InstanceRow) => OwnersWord | undefined,
  ): Promise<{ readonly was: InstanceRow; readonly row: InstanceRow }> {
    return db.tenantTx(tenantId, async (tx) => {
      const was = found(await lockInstance(tx, tenantId, id))
      const decided = decide(was)
      if (!decided) return { was, row: was }
      const row = await saveOwnersWord(tx, tenantId, id, decided)
      if (decided.deleted) await deps.onDeleted?.(tx, tenantId, id)
      await tell(tx, tenantId, was, decided.state)
      return { was, row: row ?? was }
    })
  }

  function word(
    before: InstanceRow,
    happening: Happening,
    { enabled, deleted = false }: { readonly enabled: boolean; readonly deleted?: boolean },
  ): OwnersWord {
    return { enabled, deleted, state: advance(before, happening, now()) }
  }

  async function tell(tx: Tx, tenantId: TenantId, before: InstanceRow, after: InstanceState): Promise<void> {
    const data = {
      instanceId: publicId('ins', before.id),
      connectionStatus: after.status,
      reason: after.reason,
      since: after.since.toISOString(),
      previousStatus: before.status,
    }
    const event = {
      tenantId,
      type: 'instance.status_changed',
      instanceId: before.id,
      subjectId: before.id,
      data,
    } as const
    await record(tx, [{ ...event, id: ids.next('evt') }])
  }

  function now(): Date {
    return new Date(clock.now())
  }
}

/** Only its owner, or a new holder, would go on from here. */
const isAtRest = ({ status, reason }: InstanceRow): boolean =>
  status === 'AUTH_FAILURE' || status === 'DISCONNECTED' || reason === 'QR_EXPIRED'

function found(row: InstanceRow | undefined): InstanceRow {
  if (!row) throw new AppError('not_found', { detail: 'No instance has this id.' })
  return row
}

const nameTaken = (name: string): AppError =>
  new AppError('name_taken', { detail: `Another instance is named ${name}.` })
