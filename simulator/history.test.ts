import type { Contact, WAMessage } from 'baileys'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Simulator, startSimulator } from './index.js'
import { type BareClient, connectBareClient } from './testing/bare-client.js'
import { eventually } from './testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from './testing/linked-account.js'

type Json = { [name: string]: unknown }

async function call(simulator: Simulator, method: string, path: string, body?: Json): Promise<Json> {
  const answer = await fetch(simulator.httpUrl + path, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return (await answer.json()) as Json
}

describe('a new companion', () => {
  const ACCOUNT = '5511987654321'
  let simulator: Simulator
  let client: BareClient

  afterEach(async () => {
    expect(simulator.problems).toEqual([])
    client.close()
    await simulator.stop()
  })

  it('gets the history of its phone: chats, messages and names', async () => {
    simulator = await startSimulator()
    const [anna = '', bruno = ''] = simulator.phones.createContacts({ count: 2 }).map(({ phone }) => phone)
    const { ids } = await call(simulator, 'POST', '/admin/history', { account: ACCOUNT, to: anna, count: 30 })
    await call(simulator, 'POST', '/admin/history', { account: ACCOUNT, to: bruno, texts: ['old'], fromMe: false })
    client = connectBareClient(simulator, { pushName: 'Ana' })
    const messages: WAMessage[] = []
    const contacts: Contact[] = []
    const chats: unknown[] = []
    const paired = client.pair(ACCOUNT)
    const listen = () =>
      client.socket.ev.on('messaging-history.set', (history) => {
        messages.push(...history.messages)
        contacts.push(...history.contacts)
        chats.push(...history.chats.map(({ id }) => id))
      })
    listen()
    const first = client.socket
    await eventually(() => client.socket !== first)
    listen()
    await paired
    await eventually(() => messages.length === 31)
    expect(messages.map(({ key }) => key.id)).toEqual(expect.arrayContaining(ids as string[]))
    const past = messages.filter(({ key }) => key.remoteJid === `${anna}@s.whatsapp.net`)
    expect(past.filter(({ key }) => key.fromMe)).toHaveLength(15)
    expect(past.find(({ message }) => message?.conversation === 'past #30')?.key.fromMe).toBe(true)
    expect(new Set(chats)).toEqual(new Set([`${anna}@s.whatsapp.net`, `${bruno}@s.whatsapp.net`]))
    await eventually(() => contacts.some(({ id, notify }) => id.startsWith(anna) && notify?.startsWith('Contact')))
  })
})

describe('the app state', () => {
  let linked: LinkedAccount
  let contact: string
  beforeEach(async () => {
    linked = await startLinkedAccount()
    contact = linked.contacts[0] ?? ''
  })
  afterEach(async () => {
    expect(linked.simulator.problems).toEqual([])
    await linked.stop()
  })

  const path = () => `/admin/accounts/${linked.account}/app-state`

  it('brings a name the owner gave on the phone, again and again', async () => {
    const names: unknown[] = []
    linked.client.socket.ev.on('contacts.upsert', (contacts) => names.push(...contacts.map(({ name }) => name)))
    for (const name of ['Anna', 'Anna B.']) await call(linked.simulator, 'POST', path(), { contact, name })
    await eventually(() => names.includes('Anna B.'))
    expect((await call(linked.simulator, 'GET', path())).collections).toMatchObject({
      critical_unblock_low: { version: 2, actions: [{ action: { contactAction: { fullName: 'Anna B.' } } }] },
    })
  })

  it('keeps what a client writes, tells the other companion, and goes on from there', async () => {
    const { simulator, client, account } = linked
    const other = connectBareClient(simulator, { pushName: 'Ana' })
    await other.pair(account)
    await eventually(() => other.state.creds.accountSyncCounter > 0)
    const [archived, muted]: [unknown[], unknown[]] = [[], []]
    other.socket.ev.on('chats.update', (chats) => archived.push(...chats.filter((chat) => chat.archived)))
    for (const each of [client, other]) {
      each.socket.ev.on('chats.update', (chats) => muted.push(...chats.filter((chat) => chat.muteEndTime)))
    }
    const id = await client.send(contact, 'hello')
    const jid = `${contact}@s.whatsapp.net`
    const lastMessages = [{ key: { id, remoteJid: jid, fromMe: true }, messageTimestamp: 1 }]
    await client.socket.chatModify({ archive: true, lastMessages }, jid)
    await eventually(() => archived.length > 0)
    const mute = { muteAction: { muted: true, muteEndTimestamp: 4_000_000_000_000 } }
    await call(simulator, 'POST', path(), { collection: 'regular_high', index: ['mute', jid], action: mute })
    await eventually(() => muted.length === 2)
    expect((await call(simulator, 'GET', path())).collections).toMatchObject({
      regular_low: { actions: [{ index: ['archive', jid] }] },
    })
    other.close()
  })
})
