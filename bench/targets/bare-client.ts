/**
 * Bare Baileys as a process of its own: the yardstick of sending and receiving. Keys in memory, nothing stored. Talks over
 * IPC: `pair`, then `send` (closed loop, resolves at the server's ack), `pace` (open loop) or `received`.
 */
import { connectBareClient } from '../../simulator/testing/bare-client.js'
import { eventually } from '../../test/support/eventually.js'
import { closedLoop, openLoop } from '../lib/load.js'
import { obey } from './bare-process.js'

export type Order =
  | {
      readonly type: 'pair'
      readonly wsUrl: string
      readonly httpUrl: string
      readonly rootPublicKeyHex: string
      readonly phone?: string
    }
  | {
      readonly type: 'send'
      readonly phones: readonly string[]
      readonly count: number
      readonly concurrency: number
      readonly tag: string
    }
  | {
      readonly type: 'pace'
      readonly phones: readonly string[]
      readonly count: number
      readonly rate: number
      readonly tag: string
    }
  /** Waits until `messages.upsert` has brought all of these. */
  | { readonly type: 'received'; readonly ids: readonly string[] }

type Client = ReturnType<typeof connectBareClient>
let client: Client | undefined
/** When `messages.upsert` brought a message (epoch ms), by WhatsApp id. */
const upsertedAt = new Map<string, number>()

obey(follow)

/** Resolves to the due time of each message, or to when it was received (epoch ms), by WhatsApp id. */
async function follow(order: Order): Promise<Record<string, number>> {
  const dueAt: Record<string, number> = {}
  if (order.type === 'pair') {
    client = connectBareClient(order, { pushName: 'bare' })
    await client.pair(order.phone)
    client.socket.ev.on('messages.upsert', ({ messages }) => {
      const at = performance.timeOrigin + performance.now()
      for (const { key } of messages) if (key.id && !upsertedAt.has(key.id)) upsertedAt.set(key.id, at)
    })
    return dueAt
  }
  if (order.type === 'received') {
    const { ids } = order
    await eventually(() => ids.every((id) => upsertedAt.has(id)), `${ids.length} messages are upserted`, 120_000)
    return Object.fromEntries(ids.map((id) => [id, upsertedAt.get(id) ?? Number.NaN]))
  }
  const { phones, count, tag } = order
  const send = async (index: number): Promise<boolean> => {
    if (!client) throw new Error('not paired')
    const id = `${tag}${index.toString(16).toUpperCase().padStart(8, '0')}`
    await client.send(phones[index % phones.length] ?? '', `hello ${tag} #${index}`, id)
    return (await client.acked(id)) === ''
  }
  if (order.type === 'send') {
    await closedLoop({ concurrency: order.concurrency, count }, send)
    return dueAt
  }
  const startedAt = performance.timeOrigin + performance.now()
  await openLoop({ rate: order.rate, count }, (index) => {
    dueAt[`${tag}${index.toString(16).toUpperCase().padStart(8, '0')}`] = startedAt + (index * 1_000) / order.rate
    return send(index)
  })
  return dueAt
}
