import { createHash } from 'node:crypto'
import type { WASocket } from 'baileys'
import { describe, expect, it } from 'vitest'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { createTestJournal } from '../testing/journal.js'
import { watchWire } from '../testing/wire-witness.js'
import type { CrashPointName } from './crash-point.js'
import { createKeyStore } from './key-store.js'
import { loadBaileys } from './load.js'
import { encodeRaw } from './raw-entry.js'
import { silentLogger } from './silent-logger.js'
import { useWorld } from './world.contract.js'

const world = useWorld()

describe('nothing leaves before what it stands on is durable', () => {
  it('requests to encrypt again hand out prekeys that are stored', async () => {
    const one = await world.open({ journal: { commitMs: 15 } })
    const witness = watchWire({ subscribe: world.onArrival, durable: one.durable })
    world.simulator.faults.add({ action: 'undecryptable', count: 3 })
    await world.write('the third time lucky')
    await eventually(() => one.messages().length === 1)
    witness.stop()
    expect(witness.preKeyCount).toBeGreaterThan(0)
    expect(witness.violations).toEqual([])
  })

  it('through Mirante, in a busy hour', async () => {
    const busy = await world.open({ journal: { commitMs: 15 } })
    const witness = watchWire({ subscribe: world.onArrival, durable: busy.durable })
    await exchange(busy.send, 12)
    askForPreKeys()
    await eventually(() => witness.receiptCount >= 12 && witness.preKeyCount >= 5)
    witness.stop()
    expect(witness.violations).toEqual([])
    expect(witness.messageCount).toBeGreaterThanOrEqual(12)
  })

  it('but through the library as it comes', async () => {
    await world.number.stop()
    const stock = await openStock()
    const witness = watchWire({ subscribe: world.onArrival, durable: world.number.durable })
    await exchange((to, text) => stock.sendMessage(`${to}@s.whatsapp.net`, { text }), 6)
    askForPreKeys()
    await eventually(() => witness.messageCount >= 6 && witness.receiptCount >= 6 && witness.preKeyCount >= 5)
    witness.stop()
    await stock.end(undefined)
    for (const what of ['message', 'receipt', 'prekey']) {
      expect(witness.violations.filter((text) => text.startsWith(what))).not.toEqual([])
    }
    await stock.journal.whenDurable(stock.journal.tail)
  })

  async function exchange(send: (to: string, text: string) => Promise<unknown>, count: number): Promise<void> {
    const marks = Array.from({ length: count }, (_, index) => `busy ${Date.now()} ${index}`)
    await Promise.all(marks.flatMap((mark) => [send(world.contact, mark), world.write(`re: ${mark}`)]))
    await eventually(() => marks.every((mark) => world.readTimes(mark) === 1))
  }

  /** The server says that it has few of our one-time prekeys left. */
  function askForPreKeys(): void {
    const count = { tag: 'count', attrs: { value: '3' } }
    const attrs = { type: 'encrypt', from: '@s.whatsapp.net', id: `low ${Date.now()}`, t: '1' }
    world.tellNumber({ tag: 'notification', attrs, content: [count] })
  }

  /** The obvious integration: keys are journaled when the library sets them, messages when it emits them. */
  async function openStock() {
    const baileys = await loadBaileys()
    const journal = createTestJournal({ commitMs: 15, durable: world.number.durable })
    const store = createKeyStore({ baileys, credentials: journal.snapshot(), journal, onIdentity: () => {} })
    const socket: WASocket = baileys.makeWASocket({
      auth: { creds: store.creds, keys: store.keys },
      logger: silentLogger(),
      waWebSocketUrl: world.simulator.wsUrl,
    })
    socket.ev.on('creds.update', () => store.saveCreds())
    socket.ev.on('messages.upsert', ({ messages }) => {
      for (const { key } of messages) {
        const envelope = { attrs: { id: key.id ?? '' }, parts: [], me: {} }
        const encHash = createHash('sha256').update(String(key.id)).digest()
        journal.append({ inbound: { encHash, payload: encodeRaw({ envelope, plaintext: Buffer.alloc(0) }) } })
      }
      void journal.whenDurable(journal.tail)
    })
    await new Promise<void>((resolve) => {
      socket.ev.on('connection.update', ({ connection }) => connection === 'open' && resolve())
    })
    return Object.assign(socket, { journal })
  }
})

describe('a process that dies', () => {
  /** Dies at the first such place after it has been armed: nothing that happens in it later counts. */
  function mortal(name: CrashPointName) {
    const life = { isArmed: false, isOver: false }
    const crashPoint = (reached: CrashPointName): void => {
      if (!life.isArmed || life.isOver || reached !== name) return
      life.isOver = true
      world.number.journal.fail('LEASE_LOST')
      world.number.connection.terminate('CLOSED')
    }
    return { life, provider: { hooks: { crashPoint } } }
  }

  it.each(['before-inbound-store', 'after-inbound-store', 'after-receipt'] as const)(
    'at %s loses no message, and the next life hears of it under its id',
    async (name) => {
      const { life, provider } = mortal(name)
      const first = await world.open({ provider })
      life.isArmed = true
      const text = `inbound, ${name}`
      const id = await world.write(text)
      await eventually(() => life.isOver)
      const second = await world.open()
      await eventually(() => world.stateOf(id) === 'delivered')
      await world.settle()
      const told = [...first.messages(), ...second.messages()].filter(({ whatsappId }) => whatsappId === id)
      expect(new Set(told.map(({ content }) => JSON.stringify(content)))).toEqual(
        new Set([JSON.stringify({ type: 'text', text: { body: text } })]),
      )
      expect(second.messages().filter(({ whatsappId }) => whatsappId === id).length).toBeLessThanOrEqual(1)
      expect([...second.durable.inbound.values()].filter((payload) => payload.includes(id))).toHaveLength(1)
    },
  )

  it.each([
    ['after-ratchet', 'no'],
    ['after-write', 'maybe'],
    ['after-ack', 'maybe'],
  ] as const)('at %s repeats its message under the same id, and it is read once', async (name, sent) => {
    const { life, provider } = mortal(name)
    const first = await world.open({ provider })
    await first.send(world.contact, 'acquainted')
    life.isArmed = true
    const id = first.provider.newWhatsappId()
    const text = `outbound, ${name}`
    await expect(first.send(world.contact, text, { id })).rejects.toMatchObject({ code: 'connection_closed', sent })
    const second = await world.open()
    await second.send(world.contact, text, { id })
    await eventually(() => world.readTimes(text) === 1)
    await world.settle()
    expect(world.readTimes(text)).toBe(1)
  })
})
