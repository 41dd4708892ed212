import { initAuthCreds } from 'baileys'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startSimulator } from './index.js'
import { connectBareClient, createMemoryKeys } from './testing/bare-client.js'
import { eventually } from './testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from './testing/linked-account.js'

describe('a stock Baileys client', () => {
  let linked: LinkedAccount
  let contact: string
  const store = new Map<string, unknown>()

  beforeEach(async () => {
    store.clear()
    linked = await startLinkedAccount()
    contact = linked.contacts[0] ?? ''
  })
  afterEach(async () => {
    expect(linked.simulator.problems).toEqual([])
    await linked.stop()
  })

  it('pairs by QR, is told to restart and logs in', () => {
    const { simulator, client, account } = linked
    expect(simulator.stats()).toMatchObject({ pairings: 1, logins: 1, connections: 2, refusedSignatures: 0 })
    expect(client.state.creds.me?.id).toBe(`${account}:1@s.whatsapp.net`)
    expect(simulator.unknown).toEqual([])
  })

  it('uploads its prekeys and finds them at the next login', async () => {
    const { simulator, client, account } = linked
    const companion = simulator.world.find(account)?.companions.get(1)
    await eventually(() => companion?.hasBootstrapped)
    const preKeys = companion?.preKeys.length ?? 0
    expect(preKeys).toBeGreaterThan(800)
    client.close()
    await client.reconnect()
    expect(companion?.preKeys.length).toBe(preKeys)
    expect(simulator.stats().logins).toBe(2)
  })

  it('sends a text its contact decrypts, and gets ack and both receipts', async () => {
    const { simulator, client } = linked
    simulator.phones.createContacts({ phones: [contact], habits: { receipts: 'read' } })
    const id = await client.send(contact, 'hello #1')
    expect(await client.acked(id)).toBe('')
    await eventually(() => client.statusOf(id) === 4)
    const { messages, counts } = simulator.phones.inbox(contact)
    expect(messages).toMatchObject([{ whatsappId: id, text: 'hello #1', seq: 1, repeats: 0 }])
    expect(counts).toMatchObject({ received: 1, distinct: 1, undecryptable: 0, reusedCounters: 0 })
  })

  it('gives the phone of its owner a copy of what it sends', async () => {
    const { simulator, client, account } = linked
    await client.send(contact, 'hello')
    const own = await eventually(() => simulator.world.find(account)?.handset)
    await eventually(() => own.copies.messages.length === 1)
    expect(own.copies.messages[0]?.text).toBe('hello')
  })

  it('receives what a contact writes and confirms it', async () => {
    const { simulator, client, account } = linked
    const [id] = await simulator.phones.send(contact, account, 'good morning')
    await eventually(() => client.messages.some(({ message }) => message?.conversation === 'good morning'))
    await eventually(() => simulator.phones.sent(contact)[0]?.state === 'delivered')
    const message = client.messages.find(({ key }) => key.id === id)
    expect(message?.key).toMatchObject({ remoteJid: `${contact}@s.whatsapp.net`, fromMe: false })
    expect(simulator.verdict(account)).toMatchObject({ inboundSent: 1, undeliveredInbound: 0 })
  })

  it('receives from a contact that hides behind its lid', async () => {
    const { simulator, client, account } = linked
    simulator.phones.createContacts({ phones: [contact], habits: { addressing: 'lid' } })
    await simulator.phones.send(contact, account, 'who am I')
    const message = await eventually(() => client.messages.find(({ key }) => key.remoteJid?.endsWith('@lid')))
    expect(message.key.remoteJidAlt).toBe(`${contact}@s.whatsapp.net`)
  })

  it('keeps an order of many in both directions', async () => {
    const { simulator, client, account } = linked
    await simulator.phones.send(contact, account, 'in', { count: 30 })
    for (let n = 1; n <= 30; n++) await client.send(contact, `out #${n}`)
    await eventually(() => simulator.phones.inbox(contact).counts.distinct === 30)
    const incoming = () => client.messages.flatMap(({ message }) => message?.conversation ?? [])
    await eventually(() => incoming().filter((text) => text.startsWith('in #')).length === 30)
    expect(incoming().filter((text) => text.startsWith('in #'))).toEqual(
      Array.from({ length: 30 }, (_, n) => `in #${n + 1}`),
    )
    expect(simulator.verdict(account)).toMatchObject({ lost: 0, doubledByText: 0, reordered: 0, distinct: 30 })
  })

  it('knows who is on WhatsApp and who is not', async () => {
    const answer = await linked.client.socket.onWhatsApp(contact, '5511000000000')
    expect(answer).toEqual([{ jid: `${contact}@s.whatsapp.net`, exists: true }])
  })

  it('is replied to by a contact that always answers', async () => {
    const { simulator, client } = linked
    simulator.phones.createContacts({ phones: [contact], habits: { autoReply: 'got it' } })
    await client.send(contact, 'are you there?')
    await eventually(() => client.messages.some(({ message }) => message?.conversation === 'got it'))
  })

  it('sees presence and typing of a contact', async () => {
    const { simulator, client, account } = linked
    const seen: string[] = []
    client.socket.ev.on('presence.update', ({ presences }) => {
      for (const { lastKnownPresence } of Object.values(presences)) seen.push(lastKnownPresence)
    })
    await client.socket.presenceSubscribe(`${contact}@s.whatsapp.net`)
    await eventually(() => seen.includes('unavailable'))
    simulator.phones.showPresence(contact, account, 'available')
    simulator.phones.showPresence(contact, account, 'composing')
    await eventually(() => seen.includes('available') && seen.includes('composing'))
  })

  it('gets what was sent while it was away, once, in order', async () => {
    const { simulator, client, account } = linked
    client.close()
    await eventually(() => simulator.world.find(account)?.companions.get(1)?.connection === null)
    await simulator.phones.send(contact, account, 'while away', { count: 5 })
    expect(simulator.phones.sent(contact).map(({ state }) => state)).toEqual(Array(5).fill('queued'))
    await client.reconnect()
    const texts = () => client.messages.flatMap(({ message }) => message?.conversation ?? [])
    await eventually(() => texts().length === 5)
    expect(texts()).toEqual([1, 2, 3, 4, 5].map((n) => `while away #${n}`))
    await eventually(() => simulator.verdict(account).undeliveredInbound === 0)
  })

  it('is found out when it goes back to an old ratchet state', async () => {
    const { simulator } = linked
    const state = { creds: initAuthCreds(), keys: createMemoryKeys(store) }
    const fresh = connectBareClient(simulator, { pushName: 'Bia', state })
    await fresh.pair()
    await fresh.send(contact, 'first #1')
    await eventually(() => simulator.phones.inbox(contact).counts.distinct === 1)
    const before = new Map(store)
    await fresh.send(contact, 'second #2')
    await eventually(() => simulator.phones.inbox(contact).counts.distinct === 2)
    for (const [key, value] of before) store.set(key, value)
    await fresh.send(contact, 'third #3')
    await eventually(() => simulator.phones.inbox(contact).counts.reusedCounters > 0)
    fresh.close()
  })

  it('writes to another account: its companion reads it, its receipt comes back, an answer finds its way', async () => {
    const { simulator, client, account } = linked
    const other = connectBareClient(simulator, { pushName: 'Bia' })
    await other.pair('5511987654321')
    await eventually(() => other.state.creds.accountSyncCounter > 0)
    const id = await client.send('5511987654321', 'hello Bia')
    const arrived = await eventually(() => other.messages.find(({ key }) => key.id === id))
    expect(arrived).toMatchObject({ pushName: 'Ana', key: { remoteJid: `${account}@s.whatsapp.net`, fromMe: false } })
    await eventually(() => client.statusOf(id) >= 3)
    const answer = await other.send(account, 'hello Ana')
    await eventually(() => client.messages.some(({ key }) => key.id === answer))
    other.close()
  })

  it('may send the same id again: its contact shows it once', async () => {
    const { simulator, client, account } = linked
    const id = await client.send(contact, 'once #1')
    await client.send(contact, 'once #1', id)
    await eventually(() => simulator.phones.inbox(contact).counts.repeatedById === 1)
    const { messages, counts } = simulator.phones.inbox(contact)
    expect(messages).toHaveLength(1)
    expect(counts).toMatchObject({ distinct: 1, reusedCounters: 0, undecryptable: 0, repeatedByText: 0 })
    expect(simulator.stats()).toMatchObject({ distinctMessages: 1, repeatedMessages: 1 })
    expect(simulator.verdict(account)).toMatchObject({ doubledById: 1, doubledByText: 0 })
  })

  it('is replaced by a second login with the same credentials, which stays', async () => {
    const { simulator, client, account } = linked
    const closed = client.waitForClose()
    const second = connectBareClient(simulator, { state: client.state })
    await second.waitForOpen()
    expect(await closed).toBe(440)
    const id = await second.send(contact, 'still here')
    expect(await second.acked(id)).toBe('')
    expect(simulator.world.find(account)?.companions.size).toBe(1)
    second.close()
  })

  it('is not heard any more once it was replaced, whatever was on its way', async () => {
    const { simulator, client } = linked
    // It does not hear of its end either, like a process that was frozen, and goes on asking.
    client.socket.ws.removeAllListeners('message')
    let asked = 0
    const asking = setInterval(() => {
      const attrs = { id: `late-${asked++}`, to: 's.whatsapp.net', type: 'get', xmlns: 'blocklist' }
      client.socket.sendNode({ tag: 'iq', attrs }).catch(() => clearInterval(asking))
    }, 1)
    const second = connectBareClient(simulator, { state: client.state })
    await second.waitForOpen()
    await eventually(() => client.socket.ws.isClosed)
    clearInterval(asking)
    expect(asked).toBeGreaterThan(10)
    expect(simulator.unknown).toEqual([])
    second.close()
  })

  it('is told that the phone removed it, and refused from then on', async () => {
    const { simulator, client, account } = linked
    const closed = client.waitForClose()
    simulator.phones.logout(account)
    expect(await closed).toBe(401)
    const again = connectBareClient(simulator, { state: client.state })
    expect(await again.waitForClose()).toBe(401)
  })

  it('can link a second companion to the same account: both read, each sees what the other writes', async () => {
    const { simulator, client, account } = linked
    // Known before the second comes: the first must hear of it.
    await client.send(contact, 'hello')
    const second = connectBareClient(simulator, { pushName: 'Ana' })
    await second.pair()
    expect(second.state.creds.me?.id).toBe(`${account}:2@s.whatsapp.net`)
    await simulator.phones.send(contact, account, 'to both')
    const read = (reader: typeof client, text: string) =>
      reader.messages.some(
        ({ message }) => message?.conversation === text || message?.extendedTextMessage?.text === text,
      )
    await eventually(() => read(client, 'to both') && read(second, 'to both'))
    await second.send(contact, 'from the second')
    await eventually(() => read(client, 'from the second'))
    await client.send(contact, 'from the first')
    await eventually(() => read(second, 'from the first'))
    second.close()
  })
})

describe('a simulator', () => {
  it('has the same root key and lids for the same seed, and others for another', async () => {
    const [one, same, other] = await Promise.all([7, 7, 8].map((seed) => startSimulator({ seed })))
    const lidOf = (simulator: typeof one) => simulator?.phones.createContacts({ phones: ['5511900000001'] })[0]?.lid
    expect(same?.rootPublicKeyHex).toBe(one?.rootPublicKeyHex)
    expect(other?.rootPublicKeyHex).not.toBe(one?.rootPublicKeyHex)
    expect(lidOf(same)).toBe(lidOf(one))
    expect(lidOf(other)).not.toBe(lidOf(one))
    await Promise.all([one?.stop(), same?.stop(), other?.stop()])
  })

  it('delays each stanza by its latency and keeps their order', async () => {
    const linked = await startLinkedAccount({ simulator: { latencyMs: 40 } })
    const [contact = ''] = linked.contacts
    const began = performance.now()
    const id = await linked.client.send(contact, 'slow #1')
    await linked.client.acked(id)
    // Timers may be a little early.
    expect(performance.now() - began).toBeGreaterThan(30)
    await linked.stop()
  })
})
