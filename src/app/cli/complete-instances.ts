import { readClientConfig } from '../config.js'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { type ConnectionArgs, createApiClient } from './api-client.js'
import { print } from './terminal.js'

/** Nobody waits longer for a completion. */
const PATIENCE_MS = 1_000

/** Names of instances, one a line; nothing where that takes long or fails: a completion has nobody to complain to. */
export async function completeInstances(args: ConnectionArgs): Promise<ExitCode> {
  try {
    const { url, apiKey } = readClientConfig({ MIRANTE_URL: args.url, MIRANTE_API_KEY: args.key })
    if (!apiKey) return EXIT.done
    const client = createApiClient(url, apiKey, PATIENCE_MS)
    const { data } = await client.get<{ data: readonly { name: string }[] }>('/api/instances?limit=200')
    for (const { name } of data) print(name)
  } catch {
    // See above.
  }
  return EXIT.done
}
