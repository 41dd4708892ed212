/** Bare Baileys as a process with many accounts: each pairs, sends what it is told to, closes; then all log in again. */
import { Agent } from 'node:https'
import { type ClientTarget, connectBareClient } from '../../simulator/testing/bare-client.js'
import { closedLoop } from '../lib/load.js'
import { itemAt, type Recipients } from '../lib/mix.js'
import { bareContent, bareJid } from './bare-content.js'
import { bareId } from './bare-id.js'
import { obey } from './bare-process.js'

export type LoginOrder =
  | { readonly type: 'pair'; readonly target: ClientTarget; readonly account: string }
  | { readonly type: 'send'; readonly account: string; readonly recipients: Recipients; readonly count: number }
  | { readonly type: 'close'; readonly account: string }
  /** All at a time 8; resolves to `elapsedMs`. */
  | { readonly type: 'log-in' }

type Client = ReturnType<typeof connectBareClient>
const clients = new Map<string, Client>()

obey<LoginOrder>(async (order) => {
  switch (order.type) {
    case 'pair': {
      const fetchAgent = new Agent({ ...(order.target.caPem && { ca: order.target.caPem }), keepAlive: true })
      const client = connectBareClient(order.target, { pushName: `bare ${order.account}`, socket: { fetchAgent } })
      clients.set(order.account, client)
      await client.pair(order.account)
      return {}
    }
    case 'send':
      for (let index = 0; index < order.count; index++) await send(order.account, order.recipients, index)
      return {}
    case 'close':
      clientOf(order.account).close()
      return {}
    case 'log-in': {
      const all = [...clients.values()]
      const { elapsedMs, samples } = await closedLoop({ concurrency: 8, count: all.length }, async (index) => {
        await all[index]?.reconnect()
        return true
      })
      if (samples.some(({ ok }) => !ok)) throw new Error('an account could not log in again')
      return { elapsedMs }
    }
  }
})

async function send(account: string, recipients: Recipients, index: number): Promise<void> {
  const client = clientOf(account)
  const item = itemAt(recipients, account, index)
  const id = bareId(`3EB0${account.slice(-6)}`, index)
  await client.socket.sendMessage(bareJid(item), await bareContent(item), { messageId: id })
  const refused = await client.acked(id)
  if (refused) throw new Error(`${account}: message ${index} was refused with ${refused}`)
}

function clientOf(account: string): Client {
  const client = clients.get(account)
  if (!client) throw new Error(`${account} was never paired`)
  return client
}
