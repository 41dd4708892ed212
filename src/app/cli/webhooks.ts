/** Webhook endpoints: which there are, and a new one. */
import { EXIT, type ExitCode } from '../exit-codes.js'
import { type ApiClient, ApiError, type ConnectionArgs, clientFrom } from './api-client.js'
import type { Endpoint } from './choose-endpoint.js'
import { assertEventType } from './event-type.js'
import { inColumns, note, print, printJson } from './terminal.js'

interface ListArgs extends ConnectionArgs {
  readonly json?: boolean | undefined
}

interface AddArgs extends ListArgs {
  readonly target: string
  readonly events?: string | undefined
  readonly instance?: string | undefined
}

export async function listEndpoints(args: ListArgs): Promise<ExitCode> {
  const endpoints = await clientFrom(args).all<Endpoint>('/api/webhooks')
  if (args.json) for (const endpoint of endpoints) printJson(endpoint)
  else if (endpoints.length === 0) note('There are no webhook endpoints. Register one: mirante webhooks add https://…')
  else {
    const rows = endpoints.map((endpoint) => [
      endpoint.id,
      stateOf(endpoint),
      endpoint.events?.join() ?? 'all',
      endpoint.url,
    ])
    for (const line of inColumns([['ID', 'STATE', 'EVENTS', 'URL'], ...rows])) print(line)
  }
  return EXIT.done
}

export async function addEndpoint(args: AddArgs): Promise<ExitCode> {
  const events = args.events?.split(',')
  for (const type of events ?? []) assertEventType(type)
  const client = clientFrom(args)
  const { secret, ...endpoint } = await register(client, {
    url: args.target,
    ...(events && { events }),
    ...(args.instance === undefined ? {} : { instanceId: await client.instanceId(args.instance) }),
  })
  if (args.json) printJson({ ...endpoint, secret })
  else
    for (const line of inColumns([
      ['id', endpoint.id],
      ['secret', secret],
    ]))
      print(line)
  note('The secret signs what is sent there; it is shown this once. Try it: mirante trigger webhook.tested')
  return EXIT.done
}

async function register(client: ApiClient, wanted: object): Promise<Endpoint & { readonly secret: string }> {
  try {
    return await client.post('/api/webhooks', wanted)
  } catch (error) {
    if (error instanceof ApiError && error.code === 'endpoint_url_refused') {
      note('For a program on your own machine there is: mirante listen --forward-to http://localhost:4000/')
    }
    throw error
  }
}

function stateOf({ enabled, disabledReason, circuit }: Endpoint): string {
  if (!enabled) return disabledReason === null ? 'disabled' : `disabled (${disabledReason})`
  return circuit.state === 'closed' ? 'well' : `failing (circuit ${circuit.state})`
}
