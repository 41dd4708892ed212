/**
 * Bare Baileys as a process of its own: the yardstick of sending and receiving. Keys in memory, nothing stored. Talks over
 * IPC: `pair`, then `send` (closed loop, resolves at the server's ack), `pace` (open loop) or `received`. It has what its
 * manual advises, a cache of groups and connections to the media host that stay open: without them it would be slower.
 */
import { Agent } from 'node:https'
import type { GroupMetadata } from 'baileys'
import { connectBareClient } from '../../simulator/testing/bare-client.js'
import { eventually } from '../../test/support/eventually.js'
import { closedLoop, openLoop } from '../lib/load.js'
import { itemAt, type Recipients } from '../lib/mix.js'
import { bareContent, bareJid } from './bare-content.js'
import { bareId } from './bare-id.js'
import { obey } from './bare-process.js'

export type Order =
  | {
      readonly type: 'pair'
      readonly wsUrl: string
      readonly httpUrl: string
      readonly rootPublicKeyHex: string
      readonly caPem: string
      readonly phone: string
    }
  | {
      readonly type: 'send'
      readonly recipients: Recipients
      readonly count: number
      readonly concurrency: number
      readonly tag: string
    }
  /** Resolves to when the first was due (epoch ms), as `startedAt`. */
  | {
      readonly type: 'pace'
      readonly recipients: Recipients
      readonly count: number
      readonly rate: number
      readonly tag: string
    }
  /** Waits until `messages.upsert` has brought all of these; resolves to when each was there, by WhatsApp id. */
  | { readonly type: 'received'; readonly ids: readonly string[] }

type Client = ReturnType<typeof connectBareClient>
let client: Client | undefined
const groups = new Map<string, GroupMetadata>()
/** When `messages.upsert` brought a message (epoch ms), by WhatsApp id. */
const upsertedAt = new Map<string, number>()

obey(follow)

async function follow(order: Order): Promise<Record<string, number>> {
  switch (order.type) {
    case 'pair':
      await pair(order)
      return {}
    case 'received': {
      const { ids } = order
      await eventually(() => ids.every((id) => upsertedAt.has(id)), `${ids.length} messages are upserted`, 120_000)
      return Object.fromEntries(ids.map((id) => [id, upsertedAt.get(id) ?? Number.NaN]))
    }
    case 'send':
      await closedLoop(order, sendingTo(order.recipients, order.tag))
      return {}
    case 'pace': {
      const startedAt = performance.timeOrigin + performance.now()
      await openLoop(order, sendingTo(order.recipients, order.tag))
      return { startedAt }
    }
  }
}

async function pair({ phone, ...target }: Extract<Order, { type: 'pair' }>): Promise<void> {
  const fetchAgent = new Agent({ ca: target.caPem, keepAlive: true })
  const cachedGroupMetadata = async (jid: string) => groups.get(jid) ?? rememberGroup(jid)
  client = connectBareClient(target, { pushName: 'bare', socket: { fetchAgent, cachedGroupMetadata } })
  await client.pair(phone)
  client.socket.ev.on('messages.upsert', ({ messages }) => {
    const at = performance.timeOrigin + performance.now()
    for (const { key } of messages) if (key.id && !upsertedAt.has(key.id)) upsertedAt.set(key.id, at)
  })
}

/** Nobody joins or leaves a group while it is measured. */
async function rememberGroup(jid: string): Promise<GroupMetadata> {
  const metadata = await paired().socket.groupMetadata(jid)
  groups.set(jid, metadata)
  return metadata
}

function sendingTo(recipients: Recipients, tag: string): (index: number) => Promise<boolean> {
  return async (index) => {
    const item = itemAt(recipients, tag, index)
    const id = bareId(tag, index)
    await paired().socket.sendMessage(bareJid(item), await bareContent(item), { messageId: id })
    return (await paired().acked(id)) === ''
  }
}

function paired(): Client {
  if (!client) throw new Error('not paired')
  return client
}
