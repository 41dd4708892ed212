import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { connectBareClient } from '../testing/bare-client.js'
import { eventually } from '../testing/eventually.js'
import { type LinkedAccount, startLinkedAccount } from '../testing/linked-account.js'

let linked: LinkedAccount
let contact: string

beforeEach(async () => {
  linked = await startLinkedAccount({ client: { socket: { keepAliveIntervalMs: 300 } } })
  contact = linked.contacts[0] ?? ''
})
afterEach(() => linked.stop())

const readTexts = () => linked.client.messages.flatMap(({ message }) => message?.conversation ?? [])

describe('a connection can be told to', () => {
  it.each([
    ['be replaced', { action: 'replaced' }, 440],
    ['restart', { action: 'stream-error', code: 515 }, 515],
    ['go away for maintenance', { action: 'stream-error', code: 503 }, 503],
    ['end its stream', { action: 'stream-end' }, 428],
    ['drop dead', { action: 'kill' }, 428],
    ['be logged out', { action: 'logged-out' }, 401],
  ] as const)('%s', async (_name, rule, code) => {
    const closed = linked.client.waitForClose()
    linked.simulator.faults.add({ ...rule, account: linked.account })
    expect(await closed).toBe(code)
  })

  it('fall silent while TCP stays open', async () => {
    const closed = linked.client.waitForClose()
    linked.simulator.faults.add({ action: 'silence' })
    expect(await closed).toBe(408)
  })

  it('send frames that are no frames, and stanzas nobody has heard of', async () => {
    const { client, simulator } = linked
    const seen: string[] = []
    client.socket.ws.on('frame', (frame: { tag?: string }) => seen.push(frame.tag ?? ''))
    simulator.faults.add({ action: 'unknown-stanza' })
    await eventually(() => seen.includes('unheard-of'))
    // The library would die of what follows: it is only counted.
    let raw = 0
    client.socket.ws.removeAllListeners('message')
    client.socket.ws.on('message', () => raw++)
    simulator.faults.add({ action: 'garbage-frame' })
    simulator.faults.add({ action: 'invalid-node' })
    await eventually(() => raw >= 2)
  })
})

describe('a login can', () => {
  it.each([401, 403, 405, 463])('be refused with reason %i, and work again afterwards', async (reason) => {
    const { client, simulator, account } = linked
    client.close()
    simulator.faults.add({ action: 'login-failure', reason, account })
    const refused = connectBareClient(simulator, { state: client.state })
    expect(await refused.waitForClose()).toBe(reason)
    await client.reconnect()
  })

  it('meet a server that answers the upgrade with 503', async () => {
    linked.simulator.faults.add({ action: 'http-503' })
    const socket = new WebSocket(linked.simulator.wsUrl)
    const status = await new Promise((resolve) => {
      socket.on('unexpected-response', (_request, response) => resolve(response.statusCode))
      socket.on('error', () => undefined)
    })
    expect(status).toBe(503)
  })

  it('wait in vain for the server hello', async () => {
    const { client, simulator } = linked
    client.close()
    simulator.faults.add({ action: 'no-hello' })
    const waiting = connectBareClient(simulator, { state: client.state, socket: { connectTimeoutMs: 300 } })
    expect(await waiting.waitForClose()).toBe(408)
  })
})

describe('a message of the client can', () => {
  it('be refused with an error', async () => {
    linked.simulator.faults.add({ action: 'nack', error: 463, contact })
    const id = await linked.client.send(contact, 'not now #1')
    expect(await linked.client.acked(id)).toBe('463')
    await eventually(() => linked.client.updates.some(({ stub }) => stub.includes('463')))
    expect(linked.simulator.phones.inbox(contact).counts.received).toBe(0)
  })

  it('arrive without ever being acknowledged', async () => {
    const { client, simulator } = linked
    const acks: string[] = []
    simulator.faults.add({ action: 'withhold-ack' })
    const silent = await client.send(contact, 'one #1')
    void client.acked(silent).then(() => acks.push(silent))
    const loud = await client.send(contact, 'two #2')
    await client.acked(loud)
    expect(acks).toEqual([])
    await eventually(() => simulator.phones.inbox(contact).counts.distinct === 2)
  })

  it('be acknowledged late, after its receipt', async () => {
    const { client, simulator } = linked
    simulator.faults.add({ action: 'early-receipt', ms: 150 })
    const id = await client.send(contact, 'late #1')
    await client.acked(id)
    const out = simulator.trace.read({ direction: 'out' }).filter(({ attrs }) => attrs.id === id)
    expect(out.map(({ tag }) => tag)).toEqual(['receipt', 'ack'])
  })

  it('reach its reader garbled, who asks for it again', async () => {
    const { client, simulator } = linked
    await client.acked(await client.send(contact, 'first #1'))
    simulator.faults.add({ action: 'garble' })
    await client.send(contact, 'garbled #2')
    await eventually(() => simulator.phones.inbox(contact).counts.distinct === 2)
    expect(simulator.phones.inbox(contact).counts).toMatchObject({ undecryptable: 1, reusedCounters: 0 })
  })

  it('vanish on its way in', async () => {
    const { client, simulator, account } = linked
    simulator.faults.add({ action: 'drop', tag: 'message' })
    await client.send(contact, 'gone #1')
    await client.send(contact, 'here #2')
    await eventually(() => simulator.phones.inbox(contact).counts.distinct === 1)
    expect(simulator.verdict(account)).toMatchObject({ lost: 1, troubled: [{ contact, lost: [1] }] })
  })

  it.each([
    ['before it is accepted', 'message', 0],
    ['after it is routed and before its ack', 'before-ack', 1],
    ['after its ack', 'after-ack', 1],
  ] as const)('kill the connection %s', async (_name, at, arrived) => {
    const { client, simulator } = linked
    await client.acked(await client.send(contact, 'first #1'))
    simulator.faults.add({ action: 'kill', at, after: 1 })
    await client.acked(await client.send(contact, 'second #2'))
    const closed = client.waitForClose()
    await client.send(contact, 'third #3')
    expect(await closed).toBe(428)
    await eventually(() => simulator.phones.inbox(contact).counts.distinct === 2 + arrived)
  })
})

describe('a message to the client can', () => {
  it('come with a bad MAC once: it asks again and reads it', async () => {
    const { simulator, account } = linked
    simulator.faults.add({ action: 'bad-mac' })
    await simulator.phones.send(contact, account, 'spoiled')
    await eventually(() => readTexts().includes('spoiled'))
    await eventually(() => simulator.phones.sent(contact)[0]?.state === 'delivered')
    expect(simulator.phones.sent(contact)[0]?.copies[0]).toMatchObject({ retries: 1, stanzas: 2, nacks: ['500'] })
  })

  it('come with a bad MAC forever: it gives up, and reads the next one', async () => {
    const { simulator, account } = linked
    const fault = simulator.faults.add({ action: 'bad-mac', count: 'forever' })
    await simulator.phones.send(contact, account, 'hopeless')
    await eventually(() => (simulator.phones.sent(contact)[0]?.copies[0]?.retries ?? 0) >= 5)
    expect(simulator.verdict(account)).toMatchObject({ undeliveredInbound: 1 })
    simulator.faults.remove(fault.faultId ?? '')
    await simulator.phones.send(contact, account, 'fine again')
    await eventually(() => readTexts().includes('fine again'))
  })

  it('be undecryptable once', async () => {
    const { simulator, account } = linked
    simulator.faults.add({ action: 'undecryptable' })
    await simulator.phones.send(contact, account, 'nonsense')
    await eventually(() => readTexts().includes('nonsense'))
  })

  it('come twice: as the same bytes, and in a new envelope', async () => {
    const { simulator, account } = linked
    simulator.faults.add({ action: 'duplicate' })
    await simulator.phones.send(contact, account, 'same')
    await eventually(() => readTexts().includes('same'))
    simulator.faults.add({ action: 'duplicate-reencrypted' })
    await simulator.phones.send(contact, account, 'anew')
    await eventually(() => readTexts().filter((text) => text === 'anew').length === 2)
    expect(readTexts().filter((text) => text === 'same')).toHaveLength(1)
  })

  it('be redelivered, with the same bytes, when its receipt never reached the server', async () => {
    const { client, simulator, account } = linked
    simulator.faults.add({ action: 'drop', tag: 'receipt', contact })
    await simulator.phones.send(contact, account, 'confirm me')
    await eventually(() => readTexts().includes('confirm me'))
    const closed = client.waitForClose()
    simulator.faults.add({ action: 'kill' })
    await closed
    await client.reconnect()
    const [sent] = await eventually(() => {
      const found = simulator.phones.sent(contact)
      return found[0]?.copies[0]?.nacks.length ? found : null
    })
    // The stock client has moved its ratchet on and refuses the redelivery: S5 of the wire notes.
    expect(sent?.copies[0]).toMatchObject({ stanzas: 1, attempts: 2, redeliveries: 1, nacks: ['487'] })
  })

  it('wait when the connection dies before it is sent', async () => {
    const { client, simulator, account } = linked
    const closed = client.waitForClose()
    simulator.faults.add({ action: 'kill', at: 'delivery' })
    await simulator.phones.send(contact, account, 'not yet')
    expect(await closed).toBe(428)
    await client.reconnect()
    await eventually(() => readTexts().includes('not yet'))
    await eventually(() => simulator.verdict(account).undeliveredInbound === 0)
  })
})

describe('what must not be trusted', () => {
  it('a certificate chain signed by another root, for one handshake', async () => {
    const { client, simulator } = linked
    client.close()
    simulator.faults.add({ action: 'bad-certificate' })
    // Stock Baileys accepts it (S1): the chain itself is checked in pki.test.ts.
    await client.reconnect()
    expect(simulator.faults.list()[0]?.fired).toBe(1)
  })

  it('prekeys whose signature is false', async () => {
    const { client, simulator } = linked
    simulator.faults.add({ action: 'false-prekey-signature', contact, count: 'forever' })
    await client.send(contact, 'trusting #1')
    await eventually(() => (simulator.faults.list()[0]?.fired ?? 0) > 0)
  })
})
