import { EXIT, type ExitCode } from '../exit-codes.js'
import { onStopSignal } from '../stop-signals.js'
import { type ConnectionArgs, clientFrom, type LiveEvent } from './api-client.js'
import { followEvents } from './follow-events.js'
import { note, print, printJson } from './terminal.js'

interface TailArgs extends ConnectionArgs {
  readonly instance?: string | undefined
  readonly type?: string | undefined
  readonly json?: boolean | undefined
}

/** Follows until interrupted. A broken stream goes on after the last event seen, so nothing is missed in between. */
export async function tail(args: TailArgs): Promise<ExitCode> {
  const client = clientFrom(args)
  const filter: Record<string, string> = {}
  if (args.instance !== undefined) filter.instanceId = await client.instanceId(args.instance)
  if (args.type !== undefined) filter.types = args.type
  const signal = untilStopped()
  const events = followEvents({
    client,
    filter,
    signal,
    onOpen: (again) => note(again ? 'following again' : 'following; Ctrl-C ends'),
    onBreak: (why) => note(`the connection broke: ${why} Trying again.`),
  })
  for await (const event of events) {
    if (args.json) printJson(event)
    else print(asLine(event))
  }
  return EXIT.done
}

/** Aborted by Ctrl-C; a second one ends the process at once. */
export function untilStopped(): AbortSignal {
  const stop = new AbortController()
  onStopSignal({ first: () => stop.abort(), second: () => process.exit(EXIT.failed) })
  return stop.signal
}

/** Time, type, ids and states; the texts of messages stay with `--json`. */
export function asLine({ timestamp, type, data }: LiveEvent): string {
  const words = ['id', 'instanceId', 'status', 'connectionStatus', 'reason']
    .map((name) => data[name])
    .filter((value) => typeof value === 'string')
  return [timestamp.slice(11, 19), type, ...words].join('  ')
}
