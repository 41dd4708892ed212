/** Numbers of a test with many: paired through the simulator some at a time, each with contacts of its own. */
import { eventually } from '../eventually.js'
import { createInstance, scanQr } from '../pair.js'
import type { Replicas } from './replicas.js'

export interface PairedNumber {
  /** Digits. */
  readonly account: string
  /** Public id of its instance. */
  readonly instanceId: string
  readonly chats: readonly Chat[]
}

/** One contact, who writes with this number and with no other. */
export interface Chat {
  /** Digits. */
  readonly phone: string
  /** How we address it: the phone number, or the LID, where the session, and with it its counters, goes on over a restart. */
  readonly to: string
}

const PAIRED_AT_ONCE = 8
const MAX_CHATS = 10

/** Resolves when all are connected. Who holds them is left to the replicas. Call it once. */
export async function pairMany(replicas: Replicas, count: number, chatsEach = 2): Promise<PairedNumber[]> {
  if (chatsEach > MAX_CHATS) throw new Error(`at most ${MAX_CHATS} chats for each number`)
  const indexes = Array.from({ length: count }, (_, index) => index)
  const numbers: PairedNumber[] = []
  await Promise.all(
    Array.from({ length: PAIRED_AT_ONCE }, async () => {
      for (let index = indexes.shift(); index !== undefined; index = indexes.shift()) {
        numbers[index] = await pairOne(replicas, index, chatsEach)
      }
    }),
  )
  await eventually(async () => (await replicas.holders()).size >= count, 'every number has a holder')
  return numbers
}

async function pairOne(replicas: Replicas, index: number, chatsEach: number): Promise<PairedNumber> {
  const account = `5511970${100_000 + index}`
  const phones = Array.from({ length: chatsEach }, (_, chat) => `5511960${100_000 + index * MAX_CHATS + chat}`)
  const { contacts } = await replicas.simulator.admin<{ contacts: { phone: string; lid: string }[] }>(
    'POST',
    '/admin/contacts',
    { phones, receipts: 'delivered' },
  )
  const chats = contacts.map(({ phone, lid }, chat) => ({ phone, to: chat % 2 === 0 ? `+${phone}` : `${lid}@lid` }))
  const instanceId = await createInstance(replicas, `number ${index}`)
  await pair(replicas, instanceId, account)
  return { account, instanceId, chats }
}

/** A pairing that is cut short shows another code: on a machine that stands still, as on the run, people scan again. */
async function pair(replicas: Replicas, instanceId: string, account: string): Promise<void> {
  await eventually(async () => {
    const { body } = await replicas.api('GET', `/api/instances/${instanceId}/status`)
    if (body.connectionStatus === 'CONNECTED') return true
    if (body.connectionStatus === 'QR_REQUIRED') await scanQr(replicas, replicas.simulator, instanceId, account)
    throw new Error(`it is ${body.connectionStatus}, ${body.reason}`)
  }, `${instanceId} is connected`)
}
