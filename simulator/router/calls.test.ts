import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from '../testing/linked-account.js'

type Heard = { id: string; status: string; from: string; isVideo: boolean | undefined; offline: boolean }

let linked: LinkedAccount
let contact: string
let heard: Heard[]

beforeEach(async () => {
  linked = await startLinkedAccount()
  contact = linked.contacts[0] ?? ''
  heard = []
  listen()
})
afterEach(() => linked.stop())

function listen(): void {
  linked.client.socket.ev.on('call', (calls) => {
    for (const { id, status, from, isVideo, offline } of calls) heard.push({ id, status, from, isVideo, offline })
  })
}

describe('a call', () => {
  it('is heard by a stock client, which rejects it', async () => {
    const { simulator, client, account } = linked
    const call = simulator.phones.call(contact, account, true)
    const [offer] = await eventually(() => (heard.length > 0 ? heard : null))
    const jid = `${contact}@s.whatsapp.net`
    expect(offer).toEqual({ id: call.callId, status: 'offer', from: jid, isVideo: true, offline: false })
    await client.socket.rejectCall(call.callId, jid)
    expect(call.state).toBe('rejected')
    expect(simulator.unknown).toEqual([])
  })

  it('ends when the caller hangs up', async () => {
    const { simulator, account } = linked
    const { callId } = simulator.phones.call(contact, account)
    simulator.phones.hangUp(callId)
    await eventually(() => heard.some(({ status }) => status === 'terminate'))
    const answer = await fetch(`${simulator.httpUrl}/admin/contacts/${contact}/calls`)
    expect(await answer.json()).toMatchObject({ calls: [{ callId, to: account, video: false, state: 'missed' }] })
  })

  it('to a client that was away is told later, once', async () => {
    const { simulator, client, account } = linked
    client.close()
    await eventually(() => simulator.world.find(account)?.companions.get(1)?.connection === null)
    const answer = await fetch(`${simulator.httpUrl}/admin/contacts/${contact}/call`, {
      method: 'POST',
      body: JSON.stringify({ to: account }),
    })
    expect(answer.status).toBe(200)
    const opened = client.reconnect()
    listen()
    await opened
    await eventually(() => heard.length === 1)
    expect(heard[0]).toMatchObject({ status: 'offer', offline: true })
    await eventually(() => simulator.world.find(account)?.companions.get(1)?.queue.size === 0)
  })
})
