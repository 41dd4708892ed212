/** One number linked to a simulator, through the provider as the product uses it, over as many connections as a test needs. */
import type { Simulator } from '../../../../simulator/index.js'
import { eventually } from '../../../../simulator/testing/eventually.js'
import { systemClock } from '../../../kernel/clock.js'
import type { InstanceId } from '../../../kernel/ids.js'
import { silentLogger } from '../../../kernel/logger.js'
import { createTestJournal, type DurableState, noState, type TestJournalOptions } from '../testing/journal.js'
import type { ContractNumber, EventOf } from '../whatsapp.contract.js'
import type { Connection, ConnectionEvent, ConnectOptions, Provider } from '../whatsapp.js'
import { type BaileysOptions, createBaileysProvider } from './baileys.js'

export interface TestNumber extends ContractNumber {
  readonly waId: string
  /** What survives the end of a process. */
  readonly durable: DurableState
  /** Connects anew with what is durable, as after a crash or an end. Resolves when it is open. */
  reopen(options?: OpenOptions): Promise<void>
  /** The same, not waiting for anything. */
  connect(options?: OpenOptions): Promise<void>
  stop(): Promise<void>
}

export interface OpenOptions {
  readonly provider?: Partial<BaileysOptions>
  readonly journal?: TestJournalOptions
  readonly connect?: Partial<ConnectOptions>
}

export interface NumberOptions extends OpenOptions {
  readonly name?: string
  /** Another life of the same number. */
  readonly durable?: DurableState
}

/** For tests that do not look at it: longer than a busy machine takes. */
const ACK_TIMEOUT_MS = 60_000

/** A number that has been paired and is open. */
export async function linkNumber(simulator: Simulator, options: NumberOptions = {}): Promise<TestNumber> {
  const number = prepareNumber(simulator, options)
  await number.connect()
  const { code } = await number.next('qr', 0)
  const scanned = simulator.phones.scanQr(code)
  if ('refused' in scanned) throw new Error(scanned.refused)
  await number.next('close', 0)
  await number.reopen()
  return number
}

/** A number without anything, not connected yet. */
export function prepareNumber(simulator: Simulator, base: NumberOptions = {}): TestNumber {
  const events: ConnectionEvent[] = []
  const durable = base.durable ?? noState()
  let provider = providerOf(simulator, base.provider)
  let journal = createTestJournal({ ...base.journal, durable })
  let connection: Connection | undefined

  async function connect(options: OpenOptions = {}): Promise<void> {
    provider = providerOf(simulator, { ...base.provider, ...options.provider })
    journal = createTestJournal({ ...base.journal, ...options.journal, durable })
    connection = await provider.connect({
      instanceId: 'instance' as InstanceId,
      displayName: base.name ?? 'Ana',
      credentials: journal.snapshot(),
      journal,
      logger: silentLogger,
      onEvent: (event) => events.push(event),
      findSent: async () => undefined,
      findRaw: journal.findRaw,
      ...options.connect,
    })
  }

  function next<Type extends ConnectionEvent['type']>(type: Type, after = events.length): Promise<EventOf<Type>> {
    return eventually(() => events.slice(after).find((event): event is EventOf<Type> => event.type === type))
  }

  const all = <Type extends ConnectionEvent['type']>(type: Type): EventOf<Type>[] =>
    events.filter((event): event is EventOf<Type> => event.type === type)

  const current = (): Connection => {
    if (!connection) throw new Error('not connected yet')
    return connection
  }

  return {
    get provider() {
      return provider
    },
    get waId() {
      return all('open')[0]?.waId ?? ''
    },
    get journal() {
      return journal
    },
    get connection() {
      return current()
    },
    durable,
    events,
    connect,
    async reopen(options) {
      await journal.whenDurable(journal.tail).catch(() => undefined)
      const before = events.length
      await connect(options)
      await next('open', before)
    },
    next,
    all,
    messages: () => all('message').map(({ message }) => message),
    receipts: () => all('receipt').map(({ receipt }) => receipt),
    send(to, text, { id = provider.newWhatsappId(), ackTimeoutMs = ACK_TIMEOUT_MS, signal } = {}) {
      return current().send(
        { whatsappId: id, to: { waId: to }, content: { type: 'text', text: { body: text } } },
        { signal: signal ?? new AbortController().signal, ackTimeoutMs },
      )
    },
    async stop() {
      await connection?.close()
    },
  }
}

function providerOf(simulator: Simulator, options: Partial<BaileysOptions> = {}): Provider {
  return createBaileysProvider({
    clock: systemClock,
    random: Math.random,
    webSocketUrl: simulator.wsUrl,
    rootPublicKeyHex: simulator.rootPublicKeyHex,
    ...options,
  })
}

/**
 * Lets everything that could happen by itself happen: what was on its way to the simulator has arrived there. For tests
 * that say that something does not come.
 */
export async function settle(simulator: Simulator): Promise<void> {
  for (let round = 0; round < 5; round++) {
    await fetch(`${simulator.httpUrl}/`).then((answer) => answer.text())
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  }
}
