/** The numbers: which there are, and a new one. */
import { EXIT, type ExitCode } from '../exit-codes.js'
import { type ConnectionArgs, clientFrom } from './api-client.js'
import { inColumns, note, print, printJson } from './terminal.js'

interface Instance {
  readonly id: string
  readonly name: string
  readonly enabled: boolean
  readonly connectionStatus: string
  readonly reason: string | null
  readonly phone: string | null
}

interface ListArgs extends ConnectionArgs {
  readonly json?: boolean | undefined
}

export async function listInstances(args: ListArgs): Promise<ExitCode> {
  const instances = await clientFrom(args).all<Instance>('/api/instances')
  if (args.json) for (const instance of instances) printJson(instance)
  else if (instances.length === 0) note('There are no instances. Make one: mirante instances create <name>')
  else {
    const rows = instances.map(({ id, name, phone, ...state }) => [name, stateOf(state), phone ?? '', id])
    for (const line of inColumns([['NAME', 'STATE', 'PHONE', 'ID'], ...rows])) print(line)
  }
  return EXIT.done
}

export async function createInstance(args: ListArgs & { readonly name: string }): Promise<ExitCode> {
  const instance = await clientFrom(args).post<Instance>('/api/instances', { name: args.name })
  if (args.json) printJson(instance)
  else print(instance.id)
  note(`${instance.name} waits for its phone: mirante qr ${quoted(instance.name)}`)
  return EXIT.done
}

const stateOf = ({ enabled, connectionStatus, reason }: Omit<Instance, 'id' | 'name' | 'phone'>): string =>
  `${connectionStatus}${enabled ? '' : ', disabled'}${reason === null ? '' : ` (${reason})`}`

const quoted = (name: string): string => (/^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`)
