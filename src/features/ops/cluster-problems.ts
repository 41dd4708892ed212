/** What is wrong with the cluster as a whole, told from what its processes say of themselves. Pure. */
import type { ProcessRow } from './cluster-store.js'

export interface ClusterProblem {
  /** Stable, in snake case. Part of the product: add, do not rename. */
  readonly code: string
  readonly found: string
  readonly action: string
}

export interface ClusterFacts {
  readonly processes: readonly ProcessRow[]
  /** The newest migration in the database. */
  readonly schemaVersion: number
  /** The oldest schema whose code works with it. */
  readonly oldestWorkingCode: number
  /** Numbers that somebody should hold. */
  readonly wantedCount: number
}

/** A process reports every ten seconds at least. */
const SILENT_MS = 30_000
const LARGE_SKEW_MS = 3_000

export function findClusterProblems(facts: ClusterFacts): ClusterProblem[] {
  const processes = facts.processes.filter(({ alive }) => alive !== false)
  const all = { ...facts, processes }
  return [sameNames, clocksApart, versionsApart, schemaApart, silent, noRoom].flatMap((find) => find(all))
}

export const nameOf = ({ replica, role, slot }: Pick<ProcessRow, 'replica' | 'role' | 'slot'>): string =>
  `${replica}/${role}/${slot}`

/** Only those that have reported lately: of one that has just been replaced, the lock may outlive it for seconds. */
function sameNames({ processes }: ClusterFacts): ClusterProblem[] {
  const names = processes.filter((process) => !isSilent(process)).map(nameOf)
  const repeated = new Set(names.filter((name, index) => names.indexOf(name) < index))
  return [...repeated].map((name) => ({
    code: 'same_name',
    found: `More than one living process is called ${name}. No number is in danger; but nobody can tell them apart, and a drain concerns them all.`,
    action: 'Give each replica a REPLICA_NAME of its own, and restart them.',
  }))
}

/** One of a replica speaks for all: they share a machine. */
function clocksApart({ processes }: ClusterFacts): ClusterProblem[] {
  const apart = processes.filter(({ clock_ahead_ms: ms }) => ms !== null && Math.abs(Number(ms)) >= LARGE_SKEW_MS)
  const byReplica = new Map(apart.map(({ replica, clock_ahead_ms }) => [replica, Number(clock_ahead_ms)]))
  return [...byReplica].map(([replica, aheadMs]) => {
    const apartBy = inWords(Math.abs(aheadMs))
    return {
      code: 'clock_apart',
      found: `The clock of ${replica} is ${apartBy} ${aheadMs > 0 ? 'ahead of' : 'behind'} the database's. No lease depends on it; times that this replica writes are wrong.`,
      action: 'Let its machine take the time from NTP: timedatectl set-ntp true',
    }
  })
}

function versionsApart({ processes }: ClusterFacts): ClusterProblem[] {
  const versions = [...new Set(processes.map(({ version }) => version))].sort()
  if (versions.length < 2) return []
  return [
    {
      code: 'versions_differ',
      found: `Versions ${versions.join(' and ')} run side by side.`,
      action: 'Finish the update: restart the older replicas with the newer version.',
    },
  ]
}

function schemaApart({ processes, schemaVersion, oldestWorkingCode }: ClusterFacts): ClusterProblem[] {
  return processes.flatMap((process) => {
    const { built_for: builtFor } = process
    if (builtFor === null || builtFor === schemaVersion) return []
    const found = `${nameOf(process)} was built for schema ${builtFor}, and the database has ${schemaVersion}`
    if (builtFor > schemaVersion) {
      return [{ code: 'schema_older', found: `${found}.`, action: 'Run mirante migrate.' }]
    }
    const action = `Finish the update: restart ${process.replica} with the newer version.`
    return builtFor >= oldestWorkingCode
      ? [{ code: 'schema_newer', found: `${found}; they work together.`, action }]
      : [{ code: 'schema_too_new', found: `${found}, which does not work with it.`, action }]
  })
}

function silent({ processes }: ClusterFacts): ClusterProblem[] {
  return processes.filter(isSilent).map((process) => ({
    code: 'silent',
    found: `${nameOf(process)} has said nothing for ${inWords(process.report_age_ms ?? 0)}: it is frozen, cut off, or its machine has gone.`,
    action: 'Its numbers are taken over after LEASE_TTL_MS. Look at its machine; restart it if it does not come back.',
  }))
}

function noRoom({ processes, wantedCount }: ClusterFacts): ClusterProblem[] {
  if (wantedCount === 0) return []
  const gateways = processes.filter(({ capacity, drained }) => capacity !== null && !drained)
  if (gateways.length === 0) {
    const found = `No gateway takes numbers, and ${wantedCount} want one.`
    return [{ code: 'no_gateway', found, action: 'Start one: mirante serve, or undrain a replica.' }]
  }
  const room = gateways.reduce((sum, { capacity }) => sum + (capacity ?? 0), 0)
  if (room >= wantedCount) return []
  const found = `${wantedCount} numbers are enabled, and the gateways have room for ${room}.`
  return [{ code: 'no_room', found, action: 'Add a gateway or a replica, or raise GATEWAY_CAPACITY.' }]
}

const isSilent = ({ report_age_ms: ageMs }: ProcessRow): boolean => ageMs !== null && ageMs > SILENT_MS

const inWords = (ms: number): string =>
  ms < 120_000 ? `${Math.round(ms / 1_000)} s` : `${Math.round(ms / 60_000)} min`
