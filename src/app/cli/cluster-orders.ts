/** What an operator orders of who holds what, followed until it is so; and who held a number before. */
import { setTimeout as delay } from 'node:timers/promises'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { type ApiClient, type ConnectionArgs, clientFrom } from './api-client.js'
import { inColumns, note, print, printJson } from './terminal.js'

interface ReplicaArgs extends ConnectionArgs {
  readonly name: string
  readonly json?: boolean | undefined
}

interface MoveArgs extends ConnectionArgs {
  readonly instance: string
  readonly to?: string | undefined
  readonly json?: boolean | undefined
}

interface HistoryArgs extends ConnectionArgs {
  readonly instance: string
  readonly json?: boolean | undefined
}

interface Replica {
  readonly replica: string
  readonly drained: boolean
  readonly held: number
}

const LOOK_EVERY_MS = 1_000
/** When nothing has moved for so long, nobody has room for the rest, or phones are being linked. */
const STUCK_MS = 30_000
/** An order that could not be carried out within two minutes is forgotten. */
const MOVE_LIMIT_MS = 125_000

/** Ends when the replica holds nothing; with exit code 1 when numbers stay that nobody else has room for. */
export async function drain({ name, json, ...connection }: ReplicaArgs): Promise<ExitCode> {
  const client = clientFrom(connection)
  const order = (): Promise<Replica> => client.post(`/api/cluster/replicas/${encodeURIComponent(name)}/drain`)
  const tell = ({ held }: Replica): void => {
    if (json) printJson({ replica: name, drained: true, held })
    else print(held === 0 ? `${name} is drained: it holds no number` : `${name} holds ${held} numbers`)
  }
  let last = await order()
  tell(last)
  for (let changedAt = performance.now(); last.held > 0; ) {
    if (performance.now() - changedAt > STUCK_MS) {
      note(
        `${last.held} numbers stay: no other gateway has room for them, or their phones are being linked. ${name} takes no more.`,
      )
      return EXIT.failed
    }
    await delay(LOOK_EVERY_MS)
    // To order it again changes nothing, and says how far it is.
    const now = await order()
    if (now.held === last.held) continue
    changedAt = performance.now()
    last = now
    tell(last)
  }
  note(`It stays so, through restarts, until: mirante cluster undrain ${name}`)
  return EXIT.done
}

export async function undrain({ name, json, ...connection }: ReplicaArgs): Promise<ExitCode> {
  const client = clientFrom(connection)
  const replica = await client.post<Replica>(`/api/cluster/replicas/${encodeURIComponent(name)}/undrain`)
  if (json) printJson(replica)
  else print(`${name} takes numbers again; it gets its share within a minute`)
  return EXIT.done
}

interface MoveOrder {
  readonly instanceId: string
  readonly from: string | null
  readonly to: string | null
  readonly epoch: number
}

/** Ends when another process holds the number. */
export async function move({ instance, to, json, ...connection }: MoveArgs): Promise<ExitCode> {
  const client = clientFrom(connection)
  const id = await client.instanceId(instance)
  const order = await client.post<MoveOrder>(`/api/cluster/instances/${id}/move`, to === undefined ? {} : { to })
  note(`${order.from ?? 'its holder'} hands ${instance} over …`)
  const replica = await untilMoved(client, order)
  if (replica === undefined) {
    note(
      'It has not moved within two minutes, and the order is forgotten. Is its phone being linked? See: mirante cluster',
    )
    return EXIT.failed
  }
  if (json) printJson({ ...order, replica })
  else print(`${instance} is held by ${replica}`)
  // Nobody was there to take it, and its holder took it back.
  return order.to === null || replica === order.to ? EXIT.done : EXIT.failed
}

/** Undefined: it did not in time. */
async function untilMoved(client: ApiClient, { instanceId, epoch }: MoveOrder): Promise<string | undefined> {
  const deadline = performance.now() + MOVE_LIMIT_MS
  while (performance.now() < deadline) {
    type Details = { readonly owner: { readonly replica: string | null; readonly epoch: number } | null }
    const { owner } = await client.get<Details>(`/api/instances/${instanceId}/details`)
    if (owner && owner.epoch > epoch) return owner.replica ?? 'a gateway without a name'
    await delay(LOOK_EVERY_MS / 2)
  }
  return undefined
}

interface Holder {
  readonly epoch: number
  readonly replica: string | null
  readonly role: string | null
  readonly slot: number | null
  readonly takenAt: string
  readonly how: string
  readonly endedAt: string | null
  readonly why: string | null
}

export async function history({ instance, json, ...connection }: HistoryArgs): Promise<ExitCode> {
  const client = clientFrom(connection)
  const holders = await client.all<Holder>(`/api/instances/${await client.instanceId(instance)}/holders`)
  if (json) for (const holder of holders) printJson(holder)
  else if (holders.length === 0) note('Nobody has held it in the last 30 days.')
  else
    for (const line of inColumns([['EPOCH', 'HOLDER', 'TAKEN', 'HOW', 'ENDED', 'WHY'], ...holders.map(cellsOf)]))
      print(line)
  return EXIT.done
}

const cellsOf = ({ epoch, replica, role, slot, takenAt, how, endedAt, why }: Holder): string[] => [
  String(epoch),
  replica === null ? 'unknown' : `${replica}/${role}/${slot}`,
  takenAt,
  how,
  endedAt ?? '',
  why ?? '',
]
