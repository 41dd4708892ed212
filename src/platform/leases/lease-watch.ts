/** What this process sees of leases that it does not hold, from poll to poll. */
import type { Clock } from '../../kernel/clock.js'
import type { Logger } from '../../kernel/logger.js'
import { type SetAlarm, within } from './alarm.js'
import {
  doubt,
  howToTake,
  type Incarnation,
  type LeaseRecord,
  type LeaseTerms,
  type Observation,
  observe,
  type Resource,
  type TakeHow,
} from './lease.js'
import type { LeaseStore } from './lease-store.port.js'

export interface LeaseWatchOptions {
  readonly store: Pick<LeaseStore, 'poll'>
  readonly self: Incarnation
  readonly terms: LeaseTerms
  readonly clock: Pick<Clock, 'mono'>
  readonly setAlarm: SetAlarm
  readonly logger: Logger
  /** Another living process holds it; called once per holder. */
  readonly onRemote: (record: LeaseRecord) => void
}

/** A lease that may be taken now. */
export interface Takeable extends LeaseRecord {
  readonly how: TakeHow
}

export interface LeaseWatch {
  /** Polls these resources and resolves to what may be taken now. */
  look(resources: readonly Resource[]): Promise<Takeable[]>
  /** Forgets all other resources. */
  keepOnly(resources: ReadonlySet<Resource>): void
  /** This process holds it now: whoever held it before is no longer of interest. */
  forgetRemote(resource: Resource): void
  /** A poll has failed. */
  doubtAll(): void
  /** Whether the next poll may find a holder dead. */
  suspectsDeath(): boolean
}

export function createLeaseWatch(options: LeaseWatchOptions): LeaseWatch {
  const { store, self, terms, clock, setAlarm, logger, onRemote } = options
  const observations = new Map<Resource, Observation>()
  const remotes = new Map<Resource, Incarnation>()

  return {
    async look(resources) {
      if (resources.length === 0) return []
      const sentAt = clock.mono()
      const records = await within(setAlarm, terms.pollTimeoutMs, store.poll(resources))
      const answeredAt = clock.mono()
      return records.flatMap((record) => {
        const observation = observe(observations.get(record.resource), record, answeredAt)
        observations.set(record.resource, observation)
        const how = howToTake(observation, { self, mono: sentAt, terms })
        // Whoever holds it next is told of anew, though it be the same.
        if (how) remotes.delete(record.resource)
        if (how) return [{ ...record, how }]
        if (!record.holderGone) reportRemote(record)
        return []
      })
    },
    keepOnly(resources) {
      for (const resource of observations.keys()) if (!resources.has(resource)) observations.delete(resource)
      for (const resource of remotes.keys()) if (!resources.has(resource)) remotes.delete(resource)
    },
    forgetRemote(resource) {
      remotes.delete(resource)
      observations.delete(resource)
    },
    doubtAll() {
      for (const [resource, observation] of observations) observations.set(resource, doubt(observation))
    },
    suspectsDeath,
  }

  function suspectsDeath(): boolean {
    return [...observations.values()].some(({ goneSince }) => goneSince !== null)
  }

  function reportRemote(record: LeaseRecord): void {
    if (!record.holder || remotes.get(record.resource) === record.holder) return
    remotes.set(record.resource, record.holder)
    logger.info('LEASE', 'healthy (remote)', {
      resource: record.resource,
      holder: record.holderName ?? record.holder,
    })
    onRemote(record)
  }
}
