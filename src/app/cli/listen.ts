/** Webhooks for a developer's machine, which Mirante could not reach: they are fetched and posted locally. */
import { newSecret } from '../../features/webhooks/signature.js'
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js'
import { type ApiClient, type ConnectionArgs, clientFrom, type LiveEvent, type Page } from './api-client.js'
import { followEvents } from './follow-events.js'
import { checkSecret, createForwarder, type Forward, type Forwarded, forwardUrl } from './forward.js'
import { asLine, untilStopped } from './tail.js'
import { note, painter, print, printJson } from './terminal.js'

interface ListenArgs extends ConnectionArgs {
  readonly 'forward-to'?: string | undefined
  readonly events?: string | undefined
  readonly instance?: string | undefined
  readonly secret?: string | undefined
  readonly after?: string | undefined
  readonly json?: boolean | undefined
}

/** Until interrupted. */
export async function listen(args: ListenArgs): Promise<ExitCode> {
  const asked = positionFrom(args.after)
  const target = targetFrom(args)
  const client = clientFrom(args)
  const after = asked === 0 ? await firstKept(client) : asked
  const filter: Record<string, string> = {}
  if (args.instance !== undefined) filter.instanceId = await client.instanceId(args.instance)
  if (args.events !== undefined) filter.types = args.events
  const signal = untilStopped()
  const forward = target && forwarderTo(target, signal)
  const counts = { events: 0, refused: 0 }
  let last = after
  const events = followEvents({
    client,
    filter,
    after,
    signal,
    onOpen: (again) => note(again ? 'Connected again; going on after the last event.' : greeting(client.url, target)),
    onBreak: (why) => note(`The connection to Mirante broke: ${why} Nothing is lost; trying again.`),
  })
  for await (const event of events) {
    const forwarded = await forward?.(event)
    // Interrupted while it waited: the event is not done, and comes again with --after.
    if (forward && !forwarded) break
    counts.events += 1
    if (forwarded && !isTaken(forwarded)) counts.refused += 1
    last = event.sequence
    show(event, forwarded, args.json)
  }
  note(farewell(counts, last))
  return EXIT.done
}

interface Target {
  readonly url: string
  readonly secret: string
}

function targetFrom({ 'forward-to': to, secret }: ListenArgs): Target | undefined {
  if (to !== undefined) return { url: forwardUrl(to), secret: secret === undefined ? newSecret() : checkSecret(secret) }
  if (secret !== undefined) throw new UsageError('--secret signs what is posted: it needs --forward-to.')
  return undefined
}

function positionFrom(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new UsageError(`--after takes the sequence number of an event, and not "${text}".`)
}

/** The position before the first event there is: older ones are forgotten after a time. */
async function firstKept(client: Pick<ApiClient, 'get'>): Promise<number> {
  const { data, nextCursor } = await client.get<Page<LiveEvent>>('/api/events?limit=1')
  return data[0] ? data[0].sequence - 1 : Number(nextCursor)
}

function forwarderTo(target: Target, signal: AbortSignal): Forward {
  return createForwarder({
    ...target,
    signal,
    onDown: (why) => note(`Nobody answers at ${target.url} (${why}). Events wait; start it when you like.`),
    onBack: () => note(`${target.url} answers again.`),
  })
}

function greeting(server: string, target: Target | undefined): string {
  if (!target) return `Listening to ${server}; Ctrl-C ends.`
  return `Listening to ${server}, forwarding to ${target.url}; Ctrl-C ends.\nSigning secret: ${target.secret}`
}

function farewell({ events, refused }: { events: number; refused: number }, last: number | undefined): string {
  const told = `\n${events} ${events === 1 ? 'event' : 'events'}${refused > 0 ? `, ${refused} not answered with 2xx` : ''}.`
  return last === undefined ? told : `${told} To go on from here: --after ${last}`
}

const isTaken = ({ status }: Forwarded): boolean => status !== null && status >= 200 && status < 300

function show(event: LiveEvent, forwarded: Forwarded | undefined, json: boolean | undefined): void {
  if (json) printJson(forwarded ? { ...event, forwarded } : event)
  else if (forwarded) print(`${asLine(event)}  → ${answerOf(forwarded)}`)
  else print(`${asLine(event)}\n${JSON.stringify(event.data, null, 2)}`)
}

function answerOf(forwarded: Forwarded): string {
  const { status, error, durationMs, attempts } = forwarded
  const answer = painter()(isTaken(forwarded) ? 'green' : 'red', String(status ?? error))
  return `${answer}  ${durationMs} ms${attempts > 1 ? `  (try ${attempts})` : ''}`
}
