/**
 * Wake-ups by way of a broker. Rows are the truth, and NOTIFY says that they were committed: one process at a time, the relay
 * (relay.ts), hears it and hands it on. A job's kind goes to one of the workers, which claims whatever of it is due; an
 * instance's id goes to the process that holds it. What the broker loses, refuses or doubles costs a sweep at most, and no
 * request ever waits for it.
 */
import type { InstanceId } from '../../../kernel/ids.js'
import type { Service } from '../../../kernel/service.js'
import type { InstanceBells } from '../bells.js'
import { type Dispatcher, type JobKind, jobKinds } from '../jobs.js'

/** One message. It holds names of kinds and ids, and nothing else ever. */
export type WakeUp =
  | { readonly to: 'worker'; readonly kind: JobKind }
  | { readonly to: 'holder'; readonly holder: string; readonly instances: readonly InstanceId[] }

export interface WakeUpPublisher {
  /** Whether what is published now may arrive. */
  readonly isReady: boolean
  /** Called each time that it becomes ready. */
  onReady(listener: () => void): void
  /** Resolves when all are confirmed; rejects when some are not. */
  publish(wakeUps: readonly WakeUp[]): Promise<void>
}

export interface WakeUpBroker {
  /** The connection; neither start nor stop waits for a broker that does not answer. */
  readonly link: Service
  readonly publisher: WakeUpPublisher
  readonly dispatcher: Dispatcher
  readonly bells: InstanceBells
}

export interface WakeUpBrokerOptions {
  /** Sets apart several installations at one broker. Asked at start, when the database is there. */
  readonly namespace: () => Promise<string>
  /** The incarnation of this process. */
  readonly holder: string
}

/** Of a newer version perhaps, or of somebody else: undefined, and to be dropped. */
export function readKind(body: unknown): JobKind | undefined {
  const { kind } = asObject(body)
  return jobKinds.find((known) => known === kind)
}

export function readInstances(body: unknown): readonly InstanceId[] {
  const { instances } = asObject(body)
  return Array.isArray(instances) ? instances.filter((id): id is InstanceId => typeof id === 'string') : []
}

function asObject(body: unknown): { readonly kind?: unknown; readonly instances?: unknown } {
  return typeof body === 'object' && body !== null ? body : {}
}
