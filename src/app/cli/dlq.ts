/** Dead letters: jobs that gave up and wait for a person. */
import { jobKinds } from '../../platform/jobs/jobs.js'
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js'
import { type ApiClient, ApiError, type ConnectionArgs, clientFrom } from './api-client.js'
import { didYouMean } from './suggest.js'
import { confirm, inColumns, note, print, printJson } from './terminal.js'

interface DeadLetter {
  readonly id: string
  readonly kind: string
  /** What the job was about. */
  readonly subjectId: string
  readonly attempts: number
  readonly error: string
  readonly diedAt: string
}

interface ListArgs extends ConnectionArgs {
  readonly kind?: string | undefined
  readonly json?: boolean | undefined
}

interface ShowArgs extends ConnectionArgs {
  readonly id: string
  readonly json?: boolean | undefined
}

interface SettleArgs extends ListArgs {
  readonly id?: string | undefined
  readonly all?: boolean | undefined
  readonly yes?: boolean | undefined
}

export async function listDeadLetters(args: ListArgs): Promise<ExitCode> {
  const letters = await collect(clientFrom(args), checkedKind(args.kind))
  if (args.json) {
    for (const letter of letters) printJson(letter)
    return EXIT.done
  }
  if (letters.length === 0) note('There are no dead letters.')
  else {
    const rows = letters.map(({ id, kind, subjectId, attempts, diedAt, error }) => {
      return [id, kind, subjectId, String(attempts), diedAt, firstLine(error)]
    })
    for (const line of inColumns([['ID', 'KIND', 'SUBJECT', 'TRIES', 'DIED', 'ERROR'], ...rows])) print(line)
  }
  return EXIT.done
}

export async function showDeadLetter(args: ShowArgs): Promise<ExitCode> {
  const client = clientFrom(args)
  const letter = await find(client, args.id)
  const delivery = letter.kind === 'deliver-webhook' ? await deliveryOf(client, letter.subjectId) : undefined
  if (args.json) printJson(delivery === undefined ? letter : { ...letter, delivery })
  else {
    const rows = Object.entries(letter).map(([name, value]) => [name, String(value)])
    for (const line of inColumns(rows)) print(line)
    for (const line of delivery === undefined ? [] : attemptLines(delivery)) print(line)
  }
  return EXIT.done
}

const deeds = {
  retry: { ask: 'Try', done: 'tried again', path: 'retry' },
  discard: { ask: 'Discard for good', done: 'discarded', path: 'discard' },
} as const

/** One by its id, or all of a kind. What has been settled meanwhile by somebody else is passed over. */
export async function settleDeadLetters(deed: keyof typeof deeds, args: SettleArgs): Promise<ExitCode> {
  const kind = checkedKind(args.kind)
  if ((args.id === undefined) !== (args.all === true)) {
    throw new UsageError('Name one dead letter by its id (mirante dlq list), or take them --all.')
  }
  if (args.id !== undefined && kind !== undefined) throw new UsageError('--kind goes with --all, not with an id.')
  const client = clientFrom(args)
  const letters = args.id === undefined ? await collect(client, kind) : [await find(client, args.id)]
  if (letters.length === 0) note('There are no dead letters.')
  const isHarmless = deed === 'retry' && args.id !== undefined
  const count = letters.length === 1 ? '1 job' : `${letters.length} jobs`
  const isWanted = letters.length === 0 || isHarmless || (await confirm(question(deed, count), args.yes))
  if (!isWanted) {
    note('Nothing was done.')
    return EXIT.failed
  }
  return settle({ deed, client, letters, json: args.json })
}

interface Settling {
  readonly deed: keyof typeof deeds
  readonly client: ApiClient
  readonly letters: readonly DeadLetter[]
  readonly json: boolean | undefined
}

async function settle({ deed, client, letters, json }: Settling): Promise<ExitCode> {
  const { done, path } = deeds[deed]
  let settled = 0
  for (const { id } of letters) {
    if (!(await settleOne(client, `/api/dead-letters/${id}/${path}`))) continue
    settled += 1
    if (json) printJson({ id, done: deed })
    else print(`${id} ${done}`)
  }
  if (letters.length > 1) note(`${settled} of ${letters.length} ${done}`)
  return EXIT.done
}

/** False when there is no such dead letter any more. */
async function settleOne(client: ApiClient, path: string): Promise<boolean> {
  try {
    await client.post(path)
    return true
  } catch (error) {
    if (error instanceof ApiError && error.code === 'not_found') return false
    throw error
  }
}

// Helpers

const question = (deed: keyof typeof deeds, count: string): string =>
  deed === 'retry' ? `${deeds.retry.ask} ${count} again?` : `${deeds.discard.ask}: ${count}?`

function checkedKind(kind: string | undefined): string | undefined {
  if (kind === undefined || (jobKinds as readonly string[]).includes(kind)) return kind
  throw new UsageError(
    `There is no kind of job called ${kind}.${didYouMean(kind, jobKinds)} It is one of ${jobKinds.join(', ')}.`,
  )
}

async function collect(client: ApiClient, kind: string | undefined): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  for await (const letter of client.list<DeadLetter>('/api/dead-letters')) {
    if (kind === undefined || letter.kind === kind) letters.push(letter)
  }
  return letters
}

async function find(client: ApiClient, id: string): Promise<DeadLetter> {
  for await (const letter of client.list<DeadLetter>('/api/dead-letters')) if (letter.id === id) return letter
  throw new Error(`There is no dead letter ${id}. See: mirante dlq list`)
}

interface Delivery {
  readonly endpointId: string
  readonly eventType: string
  readonly attempts: readonly {
    readonly number: number
    readonly startedAt: string
    readonly durationMs: number
    readonly status: number | null
    readonly error: string | null
  }[]
}

/** Undefined when it is there no longer. */
async function deliveryOf(client: ApiClient, id: string): Promise<Delivery | undefined> {
  try {
    return await client.get<Delivery>(`/api/deliveries/${id}`)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined
    throw error
  }
}

function attemptLines({ endpointId, eventType, attempts }: Delivery): string[] {
  const rows = attempts.map(({ number, startedAt, durationMs, status, error }) => {
    return [`  ${number}`, startedAt, status === null ? '' : `HTTP ${status}`, `${durationMs} ms`, error ?? '']
  })
  return ['', `${eventType} to ${endpointId}:`, ...inColumns(rows)]
}

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? ''
