import { type Simulator, type SimulatorOptions, startSimulator } from '../index.js'
import { type BareClient, type BareClientOptions, connectBareClient } from './bare-client.js'
import { eventually } from './eventually.js'

export type LinkedAccount = {
  readonly simulator: Simulator
  readonly client: BareClient
  readonly account: string
  /** Numbers of contacts that exist. */
  readonly contacts: string[]
  stop(): Promise<void>
}

/** The usual beginning of a test: a simulator, some contacts, one linked and open client. */
export async function startLinkedAccount(
  options: { simulator?: SimulatorOptions; client?: BareClientOptions; contacts?: number } = {},
): Promise<LinkedAccount> {
  const simulator = await startSimulator(options.simulator)
  const people = simulator.phones.createContacts({ count: options.contacts ?? 2 })
  const client = connectBareClient(simulator, { pushName: 'Ana', ...options.client })
  await client.pair()
  // Until its first sync is over, the library holds events back, up to 20 s when it is closed before.
  if (options.simulator?.initialSync !== false) await eventually(() => client.state.creds.accountSyncCounter > 0)
  const account = [...simulator.world.people.values()].find(({ isAccount }) => isAccount)?.phone ?? ''
  return {
    simulator,
    client,
    account,
    contacts: people.map(({ phone }) => phone),
    async stop() {
      client.close()
      await simulator.stop()
    },
  }
}
