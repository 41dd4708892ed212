/**
 * One round of pairing: the process dies while a number is being linked, and is started again. A device that the phone lists
 * is one that we can log in with; if it does not list one, a new code is shown.
 */
import type { Random } from '../../src/kernel/random.js'
import { eventually } from '../support/eventually.js'
import { connected } from '../support/pair.js'
import { postUntilAccepted } from '../support/patient-client.js'
import type { CrashWorld } from './crash-world.js'

export interface PairingVerdict {
  readonly crashes: number
  /** Devices that the phone lists and we cannot log in with. */
  readonly strayDevices: number
  /** Scans after the first: what had not been linked is linked with a new code. */
  readonly scannedAgain: number
}

export interface PairingOptions {
  readonly name: string
  readonly random: Random
}

/** Pairing, the first login and its pre-keys are at least so many flushes of credentials. */
const MAX_HIT = 3
const DIES_WITHIN_MS = 120_000

export async function runPairingRound(world: CrashWorld, { name, random }: PairingOptions): Promise<PairingVerdict> {
  const { mirante } = world
  const phone = `5511944${String(100_000 + Math.floor(random() * 900_000))}`
  const created = await mirante.api('POST', '/api/instances', { body: { name: `${name} ${phone}` } })
  const { id } = created.body
  const code = await codeOf(world, id)
  const point = random() < 0.5 ? 'before-ratchet' : 'after-ratchet'
  if (!(await world.arm({ point, hit: 1 + Math.floor(random() * MAX_HIT) })))
    throw new Error('it died before it was armed')
  // It may be dead already: then nobody shows this code any more.
  await scan(world, code, phone).catch(() => undefined)
  await eventually(() => !mirante.alive, `it dies ${point}, pairing`, DIES_WITHIN_MS)
  if (world.epitaph()?.point !== point) throw new Error('it died of something else')
  await mirante.restart()
  const isLinked = (await devicesOf(world, phone)) > 0
  if (!isLinked) await scanWhatIsShown(world, id, phone)
  await connected(mirante, id)
  const verdict = {
    crashes: 1,
    strayDevices: (await devicesOf(world, phone)) - 1,
    scannedAgain: isLinked ? 0 : 1,
  }
  await useAndRemove(world, id)
  return verdict
}

async function codeOf({ mirante }: CrashWorld, id: string): Promise<string> {
  const { body } = await mirante.api('GET', `/api/instances/${id}/qr`)
  if (!body.qr) throw new Error(`no code: ${JSON.stringify(body)}`)
  return body.qr.code
}

async function scan({ simulator }: CrashWorld, code: string, phone: string): Promise<void> {
  await simulator.admin('POST', `/admin/mock-phone/scan-qr?phone=${phone}`, code)
}

/** For a moment the code of the dead process may still be shown. */
function scanWhatIsShown(world: CrashWorld, id: string, phone: string): Promise<void> {
  const scanOnce = async (): Promise<boolean> => {
    await scan(world, await codeOf(world, id), phone)
    return true
  }
  return eventually(scanOnce, 'a code is shown that a phone can scan')
}

async function devicesOf({ simulator }: CrashWorld, phone: string): Promise<number> {
  const { accounts } = await simulator.admin<{ accounts: { phone: string; companions: unknown[] }[] }>(
    'GET',
    '/admin/accounts',
  )
  return accounts.find((account) => account.phone === phone)?.companions.length ?? 0
}

/** What was paired works. */
async function useAndRemove({ mirante, friends }: CrashWorld, id: string): Promise<void> {
  const body = { instanceId: id, to: friends[0]?.to, type: 'text', text: { body: `from ${id}` } }
  const accepted = await postUntilAccepted(mirante, `first-of-${id}`, body)
  await eventually(async () => {
    const answer = await mirante.api('GET', `/api/messages/${accepted.body.id}`)
    return ['sent', 'delivered', 'read'].includes(answer.body.status)
  }, 'the new number sends')
  await mirante.api('DELETE', `/api/instances/${id}`)
}
