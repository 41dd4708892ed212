import { initAuthCreds } from 'baileys'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectBareClient, createMemoryKeys } from './testing/bare-client.js'
import { eventually } from './testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from './testing/linked-account.js'

const RESTRICTED_MS = 3_600_000
const MONTH_S = 29 * 24 * 3_600

let linked: LinkedAccount
let contact: string
let other: string
let store: Map<string, unknown>

beforeEach(async () => {
  store = new Map()
  linked = await startLinkedAccount()
  ;[contact = '', other = ''] = linked.contacts
})
afterEach(async () => {
  expect(linked.simulator.problems).toEqual([])
  expect(linked.simulator.unknown).toEqual([])
  await linked.stop()
})

const person = (phone: string) => linked.simulator.world.find(phone)
const restrict = () => {
  const account = person(linked.account)
  if (account) account.restrictedUntil = Date.now() + RESTRICTED_MS
}
const heldBy = (holder: string, giver: string) => person(holder)?.tokensFrom.get(giver)
const sendAndHear = async (phone: string, text: string) => linked.client.acked(await linked.client.send(phone, text))

async function storedToken(phone: string): Promise<Uint8Array | undefined> {
  const jid = `${person(phone)?.lid}@lid`
  return (await linked.client.state.keys.get('tctoken', [jid]))[jid]?.token
}

/** The phone writes, and its token is with the client. */
async function hearFrom(phone: string): Promise<void> {
  await linked.simulator.phones.send(phone, linked.account, 'hello')
  await eventually(async () => (await storedToken(phone))?.length)
}

describe('privacy tokens', () => {
  it('come behind what a phone writes, once a week, and go with what a stock client answers', async () => {
    const { simulator } = linked
    await hearFrom(contact)
    await simulator.phones.send(contact, linked.account, 'hello again')
    expect(await sendAndHear(contact, 'hello you')).toBe('')
    expect(await sendAndHear(other, 'hello stranger')).toBe('')
    const told = simulator.trace.read({ tag: 'notification', direction: 'out' })
    expect(told.filter(({ attrs }) => attrs.type === 'privacy_token')).toHaveLength(1)
    expect(Buffer.from((await storedToken(contact)) ?? [])).toEqual(heldBy(linked.account, contact)?.bytes)
    const sent = simulator.trace.read({ tag: 'message', direction: 'in' }).filter(({ attrs }) => attrs.to)
    const withToken = sent.filter(({ children }) => children.includes('tctoken')).map(({ attrs }) => attrs.to)
    expect(withToken).toEqual([`${contact}@s.whatsapp.net`])
  })

  it('are given by a stock client to whom it writes to', async () => {
    await sendAndHear(contact, 'hello')
    await eventually(() => heldBy(contact, linked.account))
    expect(heldBy(other, linked.account)).toBeUndefined()
  })

  it('let a restricted account write: to nobody else, not with a false one, not with an old one', async () => {
    await hearFrom(contact)
    restrict()
    expect(await sendAndHear(other, 'hello stranger')).toBe('463')
    expect(await sendAndHear(contact, 'hello you')).toBe('')
    const mine = person(linked.account)?.tokensFrom
    const good = heldBy(linked.account, contact)
    if (!mine || !good) throw new Error('no token')
    mine.set(contact, { ...good, bytes: Buffer.from('another one') })
    expect(await sendAndHear(contact, 'with a false one')).toBe('463')
    mine.set(contact, { ...good, at: good.at - MONTH_S })
    expect(await sendAndHear(contact, 'with an old one')).toBe('463')
  })

  it('are not given by a phone whose habit that is not', async () => {
    linked.simulator.phones.createContacts({ phones: [contact], habits: { givesTokens: false } })
    await linked.simulator.phones.send(contact, linked.account, 'hello')
    await eventually(() => linked.client.messages.some(({ message }) => message?.conversation === 'hello'))
    restrict()
    expect(await sendAndHear(contact, 'hello you')).toBe('463')
  })

  it('of before come with the history', async () => {
    const { simulator } = linked
    const account = '5511987000001'
    const history = { account, to: contact, count: 4 }
    await fetch(`${simulator.httpUrl}/admin/history`, { method: 'POST', body: JSON.stringify(history) })
    const late = connectBareClient(simulator, {
      state: { creds: initAuthCreds(), keys: createMemoryKeys(store) },
    })
    await late.pair(account)
    const key = `tctoken/${person(contact)?.lid}@lid`
    const known = (await eventually(() => store.get(key))) as { token: Uint8Array }
    expect(Buffer.from(known.token)).toEqual(heldBy(account, contact)?.bytes)
    late.close()
  })
})
