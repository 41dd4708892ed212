/** Which processes of Mirante run, and what each of them holds. */
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
  readonly processes: readonly ClusterProcess[]
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
    if (page.nextCursor === null) return { processes: page.processes, leases }
    cursor = page.nextCursor
  }
}

/** Pure. */
export function inLines({ processes, leases }: Cluster, nowMs: number): string[] {
  const held = (incarnation: string) => leases.filter(({ holder }) => holder?.incarnation === incarnation).length
  const processRows = processes.map(({ incarnation, startedAt, version, alive, ...name }) => [
    nameOf(name),
    lifeOf(alive),
    inWords(nowMs - Date.parse(startedAt)),
    version,
    String(held(incarnation)),
  ])
  const leaseRows = leases.map(({ resource, instanceName, instanceId, holder, epoch, ageMs }) => [
    instanceId === null ? resource : `${instanceName} (${instanceId})`,
    holder ? `${nameOf(holder)}${holder.alive === false ? ' (gone)' : ''}` : 'nobody',
    String(epoch),
    ageMs === null ? '' : inWords(ageMs),
  ])
  return [
    ...inColumns([['PROCESS', 'STATE', 'UP', 'VERSION', 'HOLDS'], ...processRows]),
    '',
    ...inColumns([['LEASE', 'HOLDER', 'EPOCH', 'SINCE'], ...leaseRows]),
  ]
}

const nameOf = ({
  replica,
  role,
  slot,
}: Readonly<Record<'replica' | 'role', string | null>> & { slot: number | null }) =>
  replica === null ? 'unknown' : `${replica}/${role}/${slot}`

function lifeOf(alive: boolean | null): string {
  if (alive === null) return 'unproved'
  return alive ? 'alive' : 'gone'
}
