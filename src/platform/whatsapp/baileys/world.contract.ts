/**
 * The world in which Baileys is held to its contract: a simulated WhatsApp, one contact, and one number of ours that is
 * paired once for a whole file, since pairing it again and again would take most of the time.
 */
import type { BinaryNode } from 'baileys'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { type Simulator, startSimulator } from '../../../../simulator/index.js'
import { linkNumber, type OpenOptions, prepareNumber, settle, type TestNumber } from './number.contract.js'

export interface World {
  readonly simulator: Simulator
  /** Our number on its present connection. */
  readonly number: TestNumber
  readonly contact: string
  /** Ends the present connection and opens another one, with ears of its own. */
  open(options?: OpenOptions): Promise<TestNumber>
  /** The same without the opening: what was durable is there, nothing is connected. */
  prepare(options?: OpenOptions): Promise<TestNumber>
  /** The contact writes to us. Resolves to the WhatsApp id. */
  write(text: string): Promise<string>
  /** How often the contact has shown this text. */
  readTimes(text: string): number
  textsRead(): string[]
  /** What the contact knows of a message it wrote to us. */
  stateOf(whatsappId: string): string | undefined
  /** Receipts of a message of ours that our number has not acknowledged. */
  waitingReceipts(whatsappId: string): number
  /** How the contact treats what it reads. */
  setReceipts(receipts: 'none' | 'delivered' | 'read'): void
  /** Each stanza of our number when it arrives at WhatsApp. */
  onArrival(listener: (stanza: BinaryNode) => void): () => void
  /** WhatsApp's server sends our number a stanza of its own making. */
  tellNumber(stanza: BinaryNode): void
  settle(): Promise<void>
}

/** Registers the hooks of a test file; the world is there when its tests run. */
export function useWorld(): World {
  let simulator: Simulator
  let number: TestNumber
  let contact: string

  beforeAll(async () => {
    simulator = await startSimulator()
    const [person] = simulator.phones.createContacts({ count: 1 })
    contact = person?.phone ?? ''
    number = await linkNumber(simulator)
  })
  afterAll(async () => {
    await number.stop()
    await simulator.stop()
  })
  afterEach(() => {
    simulator.faults.clear()
    expect(simulator.verdict(number.waId)).toMatchObject({ reusedRatchetCounters: 0, doubledByText: 0 })
  })

  async function prepare(options: OpenOptions = {}): Promise<TestNumber> {
    await number.stop()
    await number.journal.whenDurable(number.journal.tail).catch(() => undefined)
    number = prepareNumber(simulator, { ...options, durable: number.durable })
    return number
  }

  const textsRead = (): string[] => simulator.phones.inbox(contact).messages.map(({ text }) => text)

  return {
    get simulator() {
      return simulator
    },
    get number() {
      return number
    },
    get contact() {
      return contact
    },
    prepare,
    async open(options) {
      const opened = await prepare()
      await opened.reopen(options)
      return opened
    },
    async write(text) {
      const [id = ''] = await simulator.phones.send(contact, number.waId, text)
      return id
    },
    textsRead,
    readTimes: (text) => textsRead().filter((read) => read === text).length,
    stateOf: (whatsappId) => simulator.phones.sent(contact).find(({ id }) => id === whatsappId)?.state,
    waitingReceipts(whatsappId) {
      const queues = [...(simulator.world.find(number.waId)?.companions.values() ?? [])].map(({ queue }) => queue)
      const waiting = queues.flatMap((queue) => queue.pending())
      return waiting.filter(({ node: { tag, attrs } }) => tag === 'receipt' && attrs.id === whatsappId).length
    },
    setReceipts: (receipts) => void simulator.phones.createContacts({ phones: [contact], habits: { receipts } }),
    onArrival: (listener) => listenTo(simulator, number.waId, listener),
    tellNumber(stanza) {
      for (const { connection } of simulator.world.find(number.waId)?.companions.values() ?? [])
        connection?.send(stanza)
    },
    settle: () => settle(simulator),
  }
}

function listenTo({ trace }: Simulator, waId: string, listener: (stanza: BinaryNode) => void): () => void {
  const record = trace.record.bind(trace)
  trace.record = (entry, stanza) => {
    record(entry, stanza)
    if (entry.direction === 'in' && entry.account === waId) listener(stanza)
  }
  return () => {
    trace.record = record
  }
}
