/** The WhatsApp that a suite measures against: a simulator with contacts and a media host, and groups for who sends the mix. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launchSimulator, type SimulatorProcess } from '../../test/support/launch.js'
import { GROUP_CONTACTS, GROUPS, type Mix, type Recipients } from './mix.js'

const CONTACTS = 20

export interface WorldOptions {
  readonly mix: Mix
  readonly seed: number
  /** Persons who are written to. @default 20 */
  readonly contacts?: number
  /** Groups of each number that sends the mix. */
  readonly groups?: number
  /** Whether phones read what reaches them: then they can judge it, and cost more. */
  readonly phonesRead?: boolean
}

export interface World {
  readonly simulator: SimulatorProcess
  readonly mix: Mix
  readonly phones: readonly string[]
  /** What the product's environment needs to trust the media host. */
  readonly env: Readonly<Record<string, string>>
  /** Whom this number writes to. It must be paired: in the mix, groups of its own are made for it. */
  recipientsOf(account: string): Promise<Recipients>
  stop(): Promise<void>
}

export async function startWorld(options: WorldOptions): Promise<World> {
  const { mix, seed, contacts = CONTACTS, groups = GROUPS, phonesRead = false } = options
  const decrypt = phonesRead ? [] : ['--decrypt', 'none']
  const simulator = await launchSimulator(['--latency-ms', '0', '--seed', String(seed), ...decrypt])
  const directory = mkdtempSync(join(tmpdir(), 'mirante-bench-'))
  const caFile = join(directory, 'ca.pem')
  writeFileSync(caFile, simulator.caPem)
  const phones = Array.from({ length: contacts }, (_, index) => `5511976${String(500_000 + index)}`)
  await simulator.admin('POST', '/admin/contacts', { phones, receipts: 'delivered' })
  return {
    ...{ simulator, mix, phones },
    env: { WHATSAPP_CA_FILE: caFile },
    async recipientsOf(account) {
      const made = mix === 'text' ? [] : await makeGroups(simulator, account, { phones, groups })
      return { mix, phones, groups: made }
    },
    async stop() {
      rmSync(directory, { recursive: true, force: true })
      await simulator.stop()
    },
  }
}

/** Resolves to their jids. */
async function makeGroups(
  simulator: SimulatorProcess,
  account: string,
  { phones, groups }: { readonly phones: readonly string[]; readonly groups: number },
): Promise<string[]> {
  const jids: string[] = []
  for (let n = 1; n <= groups; n++) {
    const members = phones.slice(0, GROUP_CONTACTS)
    const group = { subject: `group ${n} of ${account}`, creator: members[0], members: [...members, account] }
    jids.push((await simulator.admin<{ jid: string }>('POST', '/admin/groups', group)).jid)
  }
  return jids
}
