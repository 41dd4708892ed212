/**
 * Which of several hosts is the primary. Pure.
 *
 * Promotion begins a new timeline, with a higher number. So a host that takes writes on a lower timeline than one that was
 * seen is a primary of old that nobody has told: what is written there is lost, and it is never chosen again.
 */
import type { DatabaseHost } from './database-url.js'

/** What a host said of itself. */
export interface HostAnswer {
  /** Of the cluster: a standby has its primary's. */
  readonly systemId: string
  /** A standby. */
  readonly recovering: boolean
  /** Takes no writes, whatever it is. */
  readonly readOnly: boolean
  /** Null where it is recovering. */
  readonly timeline: number | null
  /** Bytes of its log: on disk on a primary, replayed on a standby. */
  readonly position: bigint
}

export interface HostState {
  readonly host: DatabaseHost
  /** Undefined: it has not been asked yet. Null: it does not answer. */
  readonly answer: HostAnswer | null | undefined
}

export interface Primary {
  readonly host: DatabaseHost
  readonly systemId: string
  readonly timeline: number
}

/** @param known the last one that was chosen; until there is one, all hosts have to be heard */
export function choosePrimary(states: readonly HostState[], known: Primary | undefined): Primary | undefined {
  if (!known && (states.some(({ answer }) => answer === undefined) || clusterIds(states).size > 1)) return undefined
  const candidates = writable(states).filter(
    ({ systemId, timeline }) => !known || (systemId === known.systemId && timeline >= known.timeline),
  )
  const highest = Math.max(...candidates.map(({ timeline }) => timeline))
  const best = candidates.filter(({ timeline }) => timeline === highest)
  return best.find(({ host }) => host.place === known?.host.place) ?? best[0]
}

/** Why none of them is, for a person. */
export function whyNoPrimary(states: readonly HostState[], known: Primary | undefined): string {
  if (!known && clusterIds(states).size > 1) return 'the hosts of DATABASE_URL belong to different clusters'
  const each = states.map((state) => `${state.host.place} ${describe(state, known)}`)
  return `no host of DATABASE_URL is the primary: ${each.join(', ')}`
}

// Helpers

const clusterIds = (states: readonly HostState[]): Set<string> =>
  new Set(states.flatMap(({ answer }) => answer?.systemId ?? []))

function writable(states: readonly HostState[]): Primary[] {
  return states.flatMap(({ host, answer }) =>
    !answer || answer.recovering || answer.readOnly || answer.timeline === null
      ? []
      : [{ host, systemId: answer.systemId, timeline: answer.timeline }],
  )
}

function describe({ answer }: HostState, known: Primary | undefined): string {
  if (!answer) return 'does not answer'
  if (answer.recovering) return 'is a standby'
  if (answer.readOnly) return 'takes no writes'
  if (known && answer.systemId !== known.systemId) return 'belongs to another cluster'
  return 'is a primary of old: another one has been promoted'
}
