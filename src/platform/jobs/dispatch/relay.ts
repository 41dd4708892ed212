/**
 * Hands wake-ups from NOTIFY on to the broker: one process at a time, under the lease `relay:wake-ups`. Everywhere else a
 * row is inserted without a thought of the broker, and whoever is served waits for none.
 *
 * What comes in during one publishing goes out with the next, once, so a burst of rows costs a few messages. Nothing is tried
 * again: what the broker does not take, a sweep finds.
 */
import { createBell } from '../../../kernel/bell.js'
import type { Clock } from '../../../kernel/clock.js'
import type { InstanceId } from '../../../kernel/ids.js'
import { errorText, type Logger } from '../../../kernel/logger.js'
import type { Service } from '../../../kernel/service.js'
import type { Database } from '../../database/database.js'
import { JOB_CHANNEL } from '../job-store.js'
import { type JobKind, jobKinds } from '../jobs.js'
import type { WakeUp, WakeUpPublisher } from './broker.js'
import { OUTBOUND_CHANNEL } from './postgres-bells.js'
import { findHolders } from './relay-store.js'

export interface WakeUpRelayOptions {
  readonly db: Database
  readonly publisher: WakeUpPublisher
  /** Runs for the lease; calls back at each election, with a signal that is aborted when the term is over. */
  readonly lead: (onElected: (term: AbortSignal) => void) => Service
  readonly clock: Pick<Clock, 'sleep'>
  readonly logger: Logger
}

/** Before it begins again, when listening failed. */
const PAUSE_MS = 1_000

export function createWakeUpRelay({ db, publisher, lead, clock, logger }: WakeUpRelayOptions): Service {
  const kinds = new Set<JobKind>()
  const instances = new Set<InstanceId>()
  const stopped = new AbortController()
  let bell = createBell()
  let running: Promise<void> = Promise.resolve()
  const leadership = lead((term) => {
    running = running.then(() => serve(AbortSignal.any([term, stopped.signal])))
  })
  // Whatever was not taken while the broker was away.
  publisher.onReady(wakeAll)

  return {
    start: () => leadership.start(),
    async stop() {
      stopped.abort()
      await leadership.stop()
      await running
    },
  }

  async function serve(term: AbortSignal): Promise<void> {
    while (!term.aborted) {
      try {
        await relay(term)
      } catch (error) {
        logger.error('JOB', 'the relay of wake-ups broke off; it begins again', { error: errorText(error) })
        await clock.sleep(PAUSE_MS, term).catch(() => {})
      }
    }
  }

  async function relay(term: AbortSignal): Promise<void> {
    bell = createBell(term)
    const stopListening: (() => Promise<void>)[] = []
    try {
      stopListening.push(await db.listen(JOB_CHANNEL, wakeKind, wakeAll))
      stopListening.push(await db.listen(OUTBOUND_CHANNEL, wakeInstance))
      while (!term.aborted) {
        await publishWaiting()
        await bell.rung()
      }
    } finally {
      await Promise.all(stopListening.map((stop) => stop()))
    }
  }

  function wakeKind(payload: string): void {
    const kind = jobKinds.find((known) => known === payload)
    if (!kind) return
    kinds.add(kind)
    bell.ring()
  }

  function wakeInstance(payload: string): void {
    instances.add(payload as InstanceId)
    bell.ring()
  }

  function wakeAll(): void {
    for (const kind of jobKinds) kinds.add(kind)
    bell.ring()
  }

  async function publishWaiting(): Promise<void> {
    const [dueKinds, rung] = [[...kinds], [...instances]]
    kinds.clear()
    instances.clear()
    if (!publisher.isReady) return
    const toWorkers = dueKinds.map((kind): WakeUp => ({ to: 'worker', kind }))
    const results = await Promise.allSettled([publish(toWorkers), toHolders(rung).then(publish)])
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) logger.debug('JOB', 'wake-ups were not taken', { reason: errorText(failed.reason) })
  }

  async function publish(wakeUps: readonly WakeUp[]): Promise<void> {
    if (wakeUps.length > 0) await publisher.publish(wakeUps)
  }

  /** An instance that nobody holds, or that moves at this moment, is looked at by whoever takes it. */
  async function toHolders(rung: readonly InstanceId[]): Promise<WakeUp[]> {
    if (rung.length === 0) return []
    const byHolder = new Map<string, InstanceId[]>()
    for (const { instanceId, holder } of await findHolders(db, rung)) {
      byHolder.set(holder, [...(byHolder.get(holder) ?? []), instanceId])
    }
    return [...byHolder].map(([holder, ids]) => ({ to: 'holder', holder, instances: ids }))
  }
}
