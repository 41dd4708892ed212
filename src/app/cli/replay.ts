/** Recorded events, delivered to a webhook endpoint again. */
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js'
import { type ConnectionArgs, clientFrom } from './api-client.js'
import { chooseEndpoint } from './choose-endpoint.js'
import { confirm, note, print, printJson } from './terminal.js'

interface ReplayArgs extends ConnectionArgs {
  readonly since?: string | undefined
  readonly until?: string | undefined
  readonly failed?: boolean | undefined
  readonly event?: string | undefined
  readonly endpoint?: string | undefined
  readonly 'dry-run'?: boolean | undefined
  readonly yes?: boolean | undefined
  readonly json?: boolean | undefined
}

type Wanted =
  | { readonly eventId: string }
  | { readonly since: string; readonly until: string; readonly onlyFailed: boolean }

/** Counts first, and asks where it is about more than one event. */
export async function replay(args: ReplayArgs): Promise<ExitCode> {
  const dryRun = args['dry-run'] === true
  const wanted = wantedFrom(args, Date.now())
  const client = clientFrom(args)
  const endpoint = await chooseEndpoint(client, args.endpoint)
  const ask = (dry: boolean) =>
    client.post<{ readonly count: number }>(`/api/webhooks/${endpoint}/replay`, { ...wanted, dryRun: dry })
  const { count } = await ask(true)
  const events = count === 1 ? '1 event' : `${count} events`
  if (dryRun || count === 0) {
    if (args.json) printJson({ endpoint, count, dryRun: true })
    else print(`${events} would be delivered again to ${endpoint}`)
    return EXIT.done
  }
  if (!('eventId' in wanted) && !(await confirm(`Deliver ${events} again to ${endpoint}?`, args.yes))) {
    note('Nothing was done.')
    return EXIT.failed
  }
  const done = await ask(false)
  if (args.json) printJson({ endpoint, count: done.count, dryRun: false })
  else print(`${events} on the way again to ${endpoint}`)
  return EXIT.done
}

/** Both ends are fixed here, so that what was counted is what is delivered. */
function wantedFrom({ since, until, failed, event }: ReplayArgs, now: number): Wanted {
  if (event !== undefined) {
    if (since !== undefined || until !== undefined || failed) {
      throw new UsageError('--event is one event; --since, --until and --failed choose by time.')
    }
    return { eventId: event }
  }
  if (since === undefined) throw new UsageError('Since when? For example --since 2h; or one event with --event evt_….')
  return {
    since: timeFrom('--since', since, now),
    until: until === undefined ? new Date(now).toISOString() : timeFrom('--until', until, now),
    onlyFailed: failed === true,
  }
}

const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `2h` ago, or a date and time; without a zone it is this machine's. @throws UsageError */
export function timeFrom(option: string, text: string, now: number): string {
  const [, amount, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  if (amount !== undefined)
    return new Date(now - Number(amount) * UNITS_MS[unit as keyof typeof UNITS_MS]).toISOString()
  const time = /^\d{4}-\d\d-\d\d([T ]|$)/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time))
    throw new UsageError(`${option} takes 30m, 2h, 3d, or a time such as 2026-11-20T08:00; not "${text}".`)
  return new Date(time).toISOString()
}
