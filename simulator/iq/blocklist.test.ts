import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from '../testing/linked-account.js'

let linked: LinkedAccount
let contact: string

beforeEach(async () => {
  linked = await startLinkedAccount()
  contact = linked.contacts[0] ?? ''
})
afterEach(() => linked.stop())

const ownerOf = ({ simulator, account }: LinkedAccount) => simulator.world.find(account)

describe('the block list', () => {
  it('is changed by a stock client, and read by it', async () => {
    const { simulator, client } = linked
    const lid = `${simulator.world.find(contact)?.lid}@lid`
    await client.socket.updateBlockStatus(`${contact}@s.whatsapp.net`, 'block')
    expect([...(ownerOf(linked)?.blocked ?? [])]).toEqual([contact])
    expect(await client.socket.fetchBlocklist()).toEqual([lid])
    await client.socket.updateBlockStatus(`${contact}@s.whatsapp.net`, 'unblock')
    expect(await client.socket.fetchBlocklist()).toEqual([])
  })

  it('that the owner changes on the phone is told to companions', async () => {
    const { simulator, client, account } = linked
    const told: unknown[] = []
    client.socket.ev.on('blocklist.update', (update) => told.push(update))
    const answer = await fetch(`${simulator.httpUrl}/admin/accounts/${account}/block`, {
      method: 'POST',
      body: JSON.stringify({ contact }),
    })
    expect(await answer.json()).toMatchObject({ blocked: [contact] })
    await eventually(() => told.length === 1)
    expect(told).toMatchObject([{ type: 'add' }])
  })

  it('keeps messages and calls of the blocked away, who do not notice', async () => {
    const { simulator, client, account, contacts } = linked
    simulator.phones.block(account, contact)
    await simulator.phones.send(contact, account, 'let me in')
    simulator.phones.call(contact, account)
    await simulator.phones.send(contacts[1] ?? '', account, 'after it')
    await eventually(() => client.messages.some(({ message }) => message?.conversation === 'after it'))
    expect(client.messages.some(({ message }) => message?.conversation === 'let me in')).toBe(false)
    expect(simulator.phones.sent(contact)[0]?.state).toBe('queued')
  })
})
