/**
 * The job table. A claimed job is changed only by who has its token: whoever lost the claim changes nothing.
 *
 * Lanes: a lane has at most one job that is ready or running, its head, which is the one with the lowest `seq`; the others
 * wait. Whoever adds to a lane takes the lane's lock first, so `seq` grows in the order of commits; whoever takes its head
 * away takes the lock and then promotes the next.
 */
import sql, { type Sql } from 'sql-template-tag'
import type { JobId, TenantId } from '../../kernel/ids.js'
import type { Queryable, Tx } from '../database/database.js'
import { heldLocks } from '../database/held-locks.js'
import type { DeadLetter, Job, JobKind, NewJob } from './jobs.js'

/** NOTIFY channel; the payload is the kind. */
export const JOB_CHANNEL = 'mirante_job'

export interface ClaimedJob extends Job {
  readonly token: string
  readonly lane: string | null
}

export interface ClaimRequest {
  readonly kind: JobKind
  readonly limit: number
  readonly worker: string
  readonly token: string
  readonly claimMs: number
}

export interface Claim {
  readonly jobs: readonly ClaimedJob[]
  /** Until the next job of the kind is due; null when none is known. */
  readonly nextDueInMs: number | null
}

/** Names a claimed job. */
export type ClaimKey = Pick<ClaimedJob, 'jobId' | 'token'>

// Enqueueing

export async function insertJobs(tx: Tx, jobs: readonly NewJob[]): Promise<void> {
  if (jobs.length === 0) return
  const lanes = jobs.flatMap(({ tenantId, key }) => (key === undefined ? [] : [scoped(tenantId, key)]))
  if (lanes.length > 0) await lockLanes(tx, lanes)
  await insertJobRows(tx, jobs)
  if (lanes.length > 0) await notifyKinds(tx, await promoteHeads(tx, lanes))
}

async function insertJobRows(tx: Tx, jobs: readonly NewJob[]): Promise<void> {
  const scopedOrNull = (job: NewJob, key: string | undefined) => (key === undefined ? null : scoped(job.tenantId, key))
  await tx.execute(sql`
    insert into job (id, tenant_id, kind, subject_id, lane, dedupe, due_at, attempt, state)
    select uuid_v7(), tenant_id, kind, subject_id, lane, dedupe, coalesce(due_at, now()), attempt,
      case when lane is null then 'ready' else 'waiting' end
    from unnest(
      ${jobs.map(({ tenantId }) => tenantId)}::uuid[],
      ${jobs.map(({ kind }) => kind)}::text[],
      ${jobs.map(({ id }) => id)}::uuid[],
      ${jobs.map((job) => scopedOrNull(job, job.key))}::text[],
      ${jobs.map((job) => scopedOrNull(job, job.dedupe))}::text[],
      ${jobs.map(({ dueAt }) => dueAt ?? null)}::timestamptz[],
      ${jobs.map(({ triesUsed }) => triesUsed ?? 0)}::int[])
    with ordinality as j (tenant_id, kind, subject_id, lane, dedupe, due_at, attempt, ord)
    order by ord
    on conflict (kind, dedupe) where dedupe is not null and state <> 'dead' do nothing`)
}

/**
 * Inserts a job without a lane for each row (tenant_id, subject_id) of `source`, at the end of the caller's statement. The
 * first `places` of them are claimed already; only of the others everybody is told.
 */
export function insertClaimed(source: Sql, { kind, limit: places, worker, token, claimMs }: ClaimRequest): Sql {
  return sql`
    insert into job (id, tenant_id, kind, subject_id, state, attempt, worker, token, running_until)
    select uuid_v7(), tenant_id, ${kind}, subject_id, case when mine then 'running' else 'ready' end, mine::int,
      case when mine then ${worker}::uuid end, case when mine then ${token}::uuid end,
      case when mine then now() + ${claimMs} * interval '1 ms' end
    from (select tenant_id, subject_id, row_number() over (order by subject_id) <= ${places} as mine from ${source}) j
    returning id as "jobId", tenant_id as "tenantId", subject_id as id, state = 'running' as claimed`
}

/** In one order everywhere, so that two transactions never wait for each other. */
async function lockLanes(tx: Tx, lanes: readonly string[]): Promise<void> {
  await tx.execute(sql`
    select pg_advisory_xact_lock(key)
    from (select distinct hashtextextended('job lane ' || lane, 0) as key from unnest(${lanes}::text[]) as l (lane)
      order by key) keys`)
}

/** Makes the first of each lane ready if it waits. Under the lanes' locks, which the statement before has taken. */
async function promoteHeads(tx: Tx, lanes: readonly string[]): Promise<JobKind[]> {
  const promoted = await tx.query<{ kind: JobKind }>(sql`
    with head as (
      select h.id from (select distinct lane from unnest(${lanes}::text[]) as l (lane)) l
      cross join lateral (
        select id, state from job j where j.lane = l.lane and j.state <> 'dead' order by j.seq limit 1
      ) h
      where h.state = 'waiting'
    )
    update job set state = 'ready' from head where job.id = head.id returning kind`)
  return promoted.map(({ kind }) => kind)
}

/** What the trigger does for jobs that are inserted ready. */
export async function notifyKinds(db: Queryable, kinds: readonly JobKind[]): Promise<void> {
  if (kinds.length === 0) return
  await db.execute(sql`
    select pg_notify(${JOB_CHANNEL}, kind) from (select distinct kind from unnest(${kinds}::text[]) as k (kind)) k`)
}

// Working

/**
 * Takes due jobs of a kind, the longest due first. (`= any (array(…))` beside the join: the plan is kept, and made while the
 * table is small it would otherwise read all of it; claim-cost.test.ts looks.)
 *
 * The claim does not wait for the disk. Lost in a crash of PostgreSQL, the job is ready again, as if it had never been
 * claimed: it runs twice, which every handler takes, and whoever ran it first finds that its token settles nothing.
 */
export async function claimJobs(db: Queryable, request: ClaimRequest): Promise<Claim> {
  const { kind, limit, worker, token, claimMs } = request
  type Row = ClaimedJob & { readonly nextDueInMs: number | null }
  type EmptyRow = { readonly jobId: null; readonly nextDueInMs: number | null }
  const rows = await db.query<Row | EmptyRow>(
    sql`
    with unhurried as materialized (select set_config('synchronous_commit', 'off', true)),
    due as materialized (
      select id from job where kind = ${kind} and state = 'ready' and due_at <= now() and exists (select from unhurried)
      order by due_at, seq limit ${limit} for update skip locked
    ), claimed as (
      update job set state = 'running', attempt = attempt + 1, worker = ${worker}, token = ${token},
        running_until = now() + ${claimMs} * interval '1 ms'
      from due where job.id = due.id and job.id = any (array(select id from due))
      returning job.id, job.tenant_id, job.subject_id, job.attempt, job.lane, job.seq
    ), later as (
      select (extract(epoch from due_at - now()) * 1000)::int8 as ms from job
      where kind = ${kind} and state = 'ready' and due_at > now() order by due_at limit 1
    )
    select claimed.id as "jobId", ${kind} as kind, tenant_id as "tenantId", subject_id as id, attempt, lane,
      ${token} as token, (select ms from later)::float8 as "nextDueInMs"
    from (select) one left join claimed on true order by claimed.seq`,
    'job-claim',
  )
  const jobs = rows.filter((row): row is Row => row.jobId !== null)
  return { jobs, nextDueInMs: rows[0]?.nextDueInMs ?? null }
}

/** Deletes jobs without a lane that are done; resolves to those that were still claimed. */
export async function deleteJobs(db: Queryable, keys: readonly ClaimKey[]): Promise<Set<JobId>> {
  const rows = await db.query<{ id: JobId }>(
    sql`
      delete from job using unnest(
        ${keys.map(({ jobId }) => jobId)}::uuid[], ${keys.map(({ token }) => token)}::uuid[]) as k (id, token)
      where job.id = k.id and job.token = k.token
      returning job.id`,
    'job-delete',
  )
  return new Set(rows.map(({ id }) => id))
}

/**
 * After the head of the lane has gone, in the same transaction; nothing but the commit should follow. Resolves to the kind
 * of the next one. Nobody is notified: whoever finished the head is awake and takes it, instead of waking everybody.
 */
export async function releaseLane(tx: Tx, lane: string): Promise<JobKind[]> {
  await lockLanes(tx, [lane])
  return promoteHeads(tx, [lane])
}

export interface Reschedule extends ClaimKey {
  /** From now, by the database's clock; unless `dueAt` is given. */
  readonly delayMs: number
  readonly dueAt: Date | null
  /** Null: nothing went wrong. */
  readonly error: string | null
  /** Whether the try counts. */
  readonly counts: boolean
  /** Its worker was lost with it. */
  readonly abandoned: boolean
}

/** Puts jobs back to ready. A job of a lane stays its head. Resolves to those that were still claimed. */
export async function rescheduleJobs(db: Queryable, changes: readonly Reschedule[]): Promise<Set<JobId>> {
  const rows = await db.query<{ id: JobId }>(
    sql`
      update job set state = 'ready', worker = null, token = null, running_until = null,
        due_at = coalesce(c.due_at, now() + c.delay_ms * interval '1 ms'),
        attempt = case when c.counts then job.attempt else job.attempt - 1 end,
        abandoned = job.abandoned + c.abandoned::int,
        error = coalesce(c.error, job.error)
      from unnest(
        ${changes.map(({ jobId }) => jobId)}::uuid[],
        ${changes.map(({ token }) => token)}::uuid[],
        ${changes.map(({ delayMs }) => delayMs)}::float8[],
        ${changes.map(({ dueAt }) => dueAt)}::timestamptz[],
        ${changes.map(({ error }) => error)}::text[],
        ${changes.map(({ counts }) => counts)}::bool[],
        ${changes.map(({ abandoned }) => abandoned)}::bool[]) as c (id, token, delay_ms, due_at, error, counts, abandoned)
      where job.id = c.id and job.token = c.token
      returning job.id`,
    'job-reschedule',
  )
  return new Set(rows.map(({ id }) => id))
}

/** Keeps the job as a dead letter; undefined when its claim was lost. Its lane is still to be released. */
export async function buryJob(tx: Tx, job: ClaimKey, error: string): Promise<DeadLetter | undefined> {
  const [dead] = await tx.query<DeadLetter>(sql`
    update job set state = 'dead', died_at = now(), error = ${error}, worker = null, token = null, running_until = null
    where id = ${job.jobId} and token = ${job.token}
    returning ${deadLetterColumns}`)
  return dead
}

// Claims that nobody will settle

export interface StaleClaim extends ClaimedJob {
  /** The claim has run out. Otherwise the worker's advisory lock was free, or the worker is not known at all. */
  readonly expired: boolean
  /** Times that it was abandoned before. */
  readonly abandonedCount: number
}

const MAX_STALE = 500

/**
 * `advisoryLocks`: whether workers have rows in `process` and hold their locks. Without locks only the time tells. A worker
 * is never judged gone by itself.
 */
export async function findStaleClaims(
  db: Queryable,
  { kinds, self, advisoryLocks }: { kinds: readonly JobKind[]; self: string; advisoryLocks: boolean },
): Promise<StaleClaim[]> {
  return db.query<StaleClaim>(sql`
    with alive as materialized (
      select lock from (${heldLocks}) as held where ${advisoryLocks}
    ), gone as materialized (
      select w.worker from (select distinct worker from job where state = 'running') w
      left join process p on p.incarnation = w.worker
      where ${advisoryLocks} and w.worker <> ${self}
        and (p.incarnation is null
          or p.incarnation_lock is not null and not exists (select from alive where alive.lock = p.incarnation_lock))
    )
    select id as "jobId", kind, tenant_id as "tenantId", subject_id as id, attempt, lane, token,
      running_until < now() as expired, abandoned as "abandonedCount"
    from job
    where state = 'running' and kind = any (${kinds}) and (running_until < now() or worker in (select worker from gone))
    order by running_until limit ${MAX_STALE}`)
}

// Dead letters

export async function findDeadLetters(
  db: Queryable,
  tenantId: TenantId,
  { limit, after }: { limit: number; after?: JobId },
): Promise<DeadLetter[]> {
  return db.query<DeadLetter>(sql`
    select ${deadLetterColumns} from job
    where tenant_id = ${tenantId} and state = 'dead' and (${after ?? null}::uuid is null or job.id < ${after ?? null}::uuid)
    order by job.id desc limit ${limit}`)
}

/** Puts a dead letter back with fresh attempts, at the end of its lane. Where a live job has its dedupe key, that one does. */
export async function reviveJob(tx: Tx, tenantId: TenantId, jobId: JobId): Promise<boolean> {
  const [dead] = await tx.query<{ kind: JobKind; lane: string | null; dedupe: string | null }>(sql`
    select kind, lane, dedupe from job where tenant_id = ${tenantId} and id = ${jobId} and state = 'dead' for update`)
  if (!dead) return false
  const { kind, lane, dedupe } = dead
  if (dedupe !== null && (await hasLiveJob(tx, kind, dedupe))) return deleteDeadJob(tx, tenantId, jobId)
  if (lane !== null) await lockLanes(tx, [lane])
  await tx.execute(sql`
    update job set state = ${lane === null ? 'ready' : 'waiting'}, seq = default, attempt = 0, due_at = now(),
      died_at = null, error = null
    where tenant_id = ${tenantId} and id = ${jobId}`)
  await notifyKinds(tx, lane === null ? [kind] : await promoteHeads(tx, [lane]))
  return true
}

export async function deleteDeadJob(db: Queryable, tenantId: TenantId, jobId: JobId): Promise<boolean> {
  const deleted = await db.execute(sql`
    delete from job where tenant_id = ${tenantId} and id = ${jobId} and state = 'dead'`)
  return deleted > 0
}

// Helpers

const deadLetterColumns = sql`id as "jobId", kind, tenant_id as "tenantId", subject_id as id, attempt, error,
  died_at as "diedAt"`

async function hasLiveJob(tx: Tx, kind: JobKind, dedupe: string): Promise<boolean> {
  const rows = await tx.query(sql`select from job where kind = ${kind} and dedupe = ${dedupe} and state <> 'dead'`)
  return rows.length > 0
}

/** Two tenants may use the same key. */
const scoped = (tenantId: TenantId, key: string): string => `${tenantId} ${key}`
