/** Which processes of Mirante run, what each of them holds, and how the servers are that they need. */
import type { DependencyReport } from '../../kernel/dependency.js'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { type ApiClient, type ConnectionArgs, clientFrom } from './api-client.js'
import { inColumns, inWords, note, print, printJson } from './terminal.js'

/** As `GET /api/cluster` shows it. */
export interface ClusterProcess {
  readonly incarnation: string
  readonly replica: string
  readonly role: string
  readonly slot: number
  readonly version: string
  readonly startedAt: string
  readonly alive: boolean | null
  readonly drained: boolean
  readonly report: ProcessReport | null
}

interface ProcessReport {
  readonly ageMs: number
  readonly held: number | null
  readonly open: number | null
  readonly capacity: number | null
  readonly draining: boolean
  readonly rssBytes: number
  readonly dependencies: readonly { readonly name: string; readonly status: string }[]
}

export interface ClusterProblem {
  readonly code: string
  readonly found: string
  readonly action: string
}

export interface ClusterLease {
  readonly resource: string
  readonly instanceId: string | null
  readonly instanceName: string | null
  readonly epoch: number
  readonly holder:
    | (Pick<ClusterProcess, 'incarnation' | 'alive'> &
        Readonly<Record<'replica' | 'role', string | null>> & { readonly slot: number | null })
    | null
  readonly ageMs: number | null
}

export interface Cluster {
  readonly schemaVersion: number
  readonly problems: readonly ClusterProblem[]
  readonly processes: readonly ClusterProcess[]
  readonly dependencies: readonly DependencyReport[]
  readonly leases: readonly ClusterLease[]
}

interface ClusterArgs extends ConnectionArgs {
  readonly json?: boolean | undefined
}

export async function cluster(args: ClusterArgs): Promise<ExitCode> {
  const found = await readCluster(clientFrom(args))
  if (args.json) printJson(found)
  else for (const line of inLines(found, Date.now())) print(line)
  if (found.processes.some(({ alive }) => alive === false))
    note('What a dead process holds is taken over within seconds.')
  return EXIT.done
}

/** With the leases of all pages. */
export async function readCluster(client: Pick<ApiClient, 'get'>): Promise<Cluster> {
  const leases: ClusterLease[] = []
  for (let cursor = ''; ; ) {
    const after = cursor && `&cursor=${encodeURIComponent(cursor)}`
    const page = await client.get<Cluster & { nextCursor: string | null }>(`/api/cluster?limit=200${after}`)
    leases.push(...page.leases)
    const { nextCursor, ...rest } = page
    if (nextCursor === null) return { ...rest, leases }
    cursor = nextCursor
  }
}

/** Pure. */
export function inLines({ problems, processes, dependencies, leases }: Cluster, nowMs: number): string[] {
  const processRows = processes.map((process) => [
    nameOf(process),
    stateOf(process),
    inWords(nowMs - Date.parse(process.startedAt)),
    process.version,
    ...reportCells(process.report),
  ])
  const leaseRows = leases.map(({ resource, instanceName, instanceId, holder, epoch, ageMs }) => [
    instanceId === null ? resource : `${instanceName} (${instanceId})`,
    holder ? `${nameOf(holder)}${holder.alive === false ? ' (gone)' : ''}` : 'nobody',
    String(epoch),
    ageMs === null ? '' : inWords(ageMs),
  ])
  return [
    ...problems.flatMap(({ found, action }) => [`! ${found}`, `  → ${action}`]),
    ...(problems.length > 0 ? [''] : []),
    ...inColumns([
      ['PROCESS', 'STATE', 'UP', 'VERSION', 'HOLDS', 'OPEN', 'MEMORY', 'REPORTED', 'WITHOUT'],
      ...processRows,
    ]),
    '',
    ...dependencyLines(dependencies),
    '',
    ...inColumns([['LEASE', 'HOLDER', 'EPOCH', 'SINCE'], ...leaseRows]),
  ]
}

function dependencyLines(dependencies: readonly DependencyReport[]): string[] {
  const rows = inColumns([
    ['DEPENDENCY', 'STATE', 'ANSWERS IN', 'VERSION', 'MEANWHILE'],
    ...dependencies.map(({ name, status, latencyMs, version, meanwhile }) => [
      name,
      status,
      latencyMs === null ? 'never' : `${latencyMs} ms`,
      version ?? '',
      meanwhile ?? '',
    ]),
  ])
  const [heading = '', ...lines] = rows
  return [
    heading,
    ...dependencies.flatMap(({ problems }, index) => [
      lines[index] ?? '',
      ...problems.flatMap(({ found, action }) => [`  ! ${found}`, `    → ${action}`]),
    ]),
  ]
}

const nameOf = ({
  replica,
  role,
  slot,
}: Readonly<Record<'replica' | 'role', string | null>> & { slot: number | null }) =>
  replica === null ? 'unknown' : `${replica}/${role}/${slot}`

function stateOf({ alive, drained, report }: ClusterProcess): string {
  if (alive === false) return 'gone'
  if (report?.draining) return 'stopping'
  if (drained) return 'drained'
  return alive ? 'alive' : 'unproved'
}

/** What it holds of its capacity, and which dependencies it does without. */
function reportCells(report: ProcessReport | null): string[] {
  if (!report) return ['', '', '', 'never', '']
  const { held, capacity, open, rssBytes, ageMs, dependencies } = report
  const without = dependencies.filter(({ status }) => status === 'down').map(({ name }) => name)
  return [
    held === null ? '' : `${held} of ${capacity}`,
    open === null ? '' : String(open),
    `${Math.round(rssBytes / 1_048_576)} MiB`,
    `${inWords(ageMs)} ago`,
    without.join(', '),
  ]
}
