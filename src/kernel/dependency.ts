/**
 * What a process of Mirante uses besides itself: a server, and how this process finds it now. Adapters of such servers make
 * one; the cluster view, the health routes and `mirante doctor` show it.
 */
export type DependencyName = 'postgres' | 'postgres-replica' | 'redis' | 'rabbitmq' | 'storage'

/** Something about it that keeps a promise from being kept. */
export interface DependencyProblem {
  /** Stable, in snake case: `evicting_policy`, `disk_alarm`, `refused`. Part of the product: add, do not rename. */
  readonly code: string
  /** One sentence for a person; names no secret and no address with one. */
  readonly found: string
  /** What to do now. */
  readonly action: string
}

export interface DependencyReport {
  readonly name: DependencyName
  /** up: as it should be. degraded: it answers, with problems. down: it does not answer. */
  readonly status: 'up' | 'degraded' | 'down'
  /** What Mirante does meanwhile, as one sentence; null when it is up. */
  readonly meanwhile: string | null
  /** Of one question and its answer; null when it is down. */
  readonly latencyMs: number | null
  /** As the server says it; null when it does not. */
  readonly version: string | null
  readonly problems: readonly DependencyProblem[]
}

export interface Dependency {
  readonly name: DependencyName
  /** Looks now, within about two seconds. Never rejects. */
  check(): Promise<DependencyReport>
}
