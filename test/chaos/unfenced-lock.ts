/**
 * The lock of seed 000, to the letter: SETNX `wbot:mutex:{id}` with a TTL in Redis; before each write GET == me, and then the
 * write, without a fence; nobody stops by himself. A control: a zombie must be seen to write. All epochs and tokens are equal, so
 * the fences in the product's statements let everybody pass. Who holds a number is noted in the lease table for the audit only.
 */
import { Redis } from 'ioredis'
import pg from 'pg'
import type { Adapters, Leases } from '../../src/app/compose-options.js'
import type { JournalWriter, OpenJournal } from '../../src/features/instances/journal.js'
import type { Incarnation, Resource } from '../../src/platform/leases/lease.js'
import type { LeaseStore } from '../../src/platform/leases/lease-store.port.js'
import { type JournalEntry, JournalError } from '../../src/platform/whatsapp/whatsapp.js'

export interface UnfencedLockOptions {
  readonly redisUrl: string
  readonly databaseUrl: string
  readonly ttlMs: number
  readonly crashPoint: (name: string) => void
}

const EVERYBODYS_TOKEN = '00000000-0000-4000-8000-000000000000'
const EVERYBODYS_EPOCH = 1n
const NEVER_MS = 3_600_000
const QUIET_MS = 10

const keyOf = (resource: Resource): string => `wbot:mutex:${resource}`

export function createUnfencedLock(options: UnfencedLockOptions): Pick<Adapters, 'leases' | 'journals'> {
  const redis = new Redis(options.redisUrl)
  const pool = new pg.Pool({ connectionString: options.databaseUrl, max: 2 })
  let me: Incarnation | undefined

  return {
    leases(real): Leases {
      me = real.holder
      const terms = { ...real.terms, trustMs: NEVER_MS, maxLagMs: NEVER_MS }
      return { ...real, terms, newToken: () => EVERYBODYS_TOKEN, store: storeIn(redis, pool, options.ttlMs) }
    },
    journals(real): JournalWriter {
      return {
        async open(fence, owner) {
          const isMine = async () => (await redis.get(keyOf(fence.resource))) === me
          return checkedThenWritten(await real.open(fence, owner), isMine, options.crashPoint)
        },
      }
    },
  }
}

function storeIn(redis: Redis, pool: pg.Pool, ttlMs: number): LeaseStore {
  const isHolder = async (resource: Resource, holder: Incarnation) => (await redis.get(keyOf(resource))) === holder
  return {
    async poll(resources) {
      const holders = await Promise.all(resources.map((resource) => redis.get(keyOf(resource))))
      return resources.map((resource, index) => ({
        resource,
        holder: (holders[index] ?? null) as Incarnation | null,
        epoch: EVERYBODYS_EPOCH,
        renewSeq: 0n,
        holderName: null,
        holderGone: null,
      }))
    },
    async take({ resource, holder }) {
      const taken = await redis.set(keyOf(resource), holder, 'PX', ttlMs, 'NX')
      if (taken === null && !(await isHolder(resource, holder))) return undefined
      await pool.query(
        `insert into lease (resource, holder, epoch, token) values ($1, $2, $3, $4)
         on conflict (resource) do update set holder = $2, epoch = $3, token = $4`,
        [resource, holder, EVERYBODYS_EPOCH, EVERYBODYS_TOKEN],
      )
      return EVERYBODYS_EPOCH
    },
    async renew(holder, fences) {
      const ours = new Set<Resource>()
      for (const { resource } of fences) {
        if (!(await isHolder(resource, holder))) continue
        await redis.pexpire(keyOf(resource), ttlMs)
        ours.add(resource)
      }
      return ours
    },
    async release({ resource }) {
      await redis.del(keyOf(resource))
    },
  }
}

function checkedThenWritten(
  real: OpenJournal,
  isMine: () => Promise<boolean>,
  crashPoint: (name: string) => void,
): OpenJournal {
  const failed = new AbortController()
  let waiting: JournalEntry[] = []
  let tail = 0
  let durable = 0
  let last: Promise<void> = Promise.resolve()

  return {
    append(entry) {
      waiting.push(entry)
      tail += 1
      setTimeout(() => void write().catch(() => undefined), QUIET_MS)
      return tail
    },
    get tail() {
      return tail
    },
    get durable() {
      return durable
    },
    async whenDurable(position) {
      if (durable < position) await write()
    },
    failed: AbortSignal.any([failed.signal, real.failed]),
    async close() {
      await write().catch(() => undefined)
      await real.close()
    },
    abandon: () => real.abandon(),
  }

  /** One after another; each carries all that waits when its turn comes. */
  function write(): Promise<void> {
    last = last.catch(() => undefined).then(checkAndWrite)
    return last
  }

  async function checkAndWrite(): Promise<void> {
    const [entries, upTo] = [waiting, tail]
    waiting = []
    if (entries.length === 0) return
    if (!(await isMine())) {
      const error = new JournalError('LEASE_LOST')
      failed.abort(error)
      throw error
    }
    crashPoint('between-check-and-write')
    for (const entry of entries) real.append(entry)
    await real.whenDurable(real.tail)
    durable = upTo
  }
}
