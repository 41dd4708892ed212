import { beforeAll, describe, expect, it } from 'vitest'
import { bundleOf, countersOf, createTestDevice, deliver, introduce, type TestDevice } from '../testing/signal.js'
import { type BaileysLibrary, loadBaileys } from './load.js'
import { encodeRaw } from './raw-entry.js'
import { silentLogger } from './silent-logger.js'
import { decodeValue } from './value-codec.js'

let baileys: BaileysLibrary

beforeAll(async () => {
  baileys = await loadBaileys()
})

const ALICE = '100@lid'
const BOB = '200@lid'
const addressOf = (jid: string): string => `${jid.split('@')[0]}_1.0`

async function newPair(): Promise<{ alice: TestDevice; bob: TestDevice }> {
  const alice = createTestDevice(baileys, { jid: ALICE })
  const bob = createTestDevice(baileys, { jid: BOB })
  await introduce(baileys, alice, bob)
  return { alice, bob }
}

/** The session as a restart would find it. */
function durableSession({ journal }: TestDevice, peer: string): unknown {
  const stored = journal.state.credentials.get('session')?.get(addressOf(peer))
  return stored && decodeValue('session', stored)
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

/** Messages that the durable ratchet has used up, against messages that are durable: never may the first be more. */
function received(device: TestDevice, peer: string): { ratchet: number; rows: number } {
  const session = durableSession(device, peer)
  return { ratchet: session ? sum(countersOf(session, 'receiving')) : 0, rows: device.journal.state.inbound.size }
}

/** Flushes and looks at every turn of the microtask queue, the finest grain at which anything can be seen. */
async function storm(work: Promise<unknown>, look: () => void): Promise<void> {
  let isDone = false
  const done = work.finally(() => {
    isDone = true
  })
  while (!isDone) {
    look()
    await Promise.resolve()
  }
  await done
}

describe('encrypting', () => {
  it('has journaled its ratchet step when it returns', async () => {
    const { alice } = await newPair()
    const before = alice.journal.tail
    await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from('one') })
    expect(alice.journal.tail).toBe(before + 1)
    alice.journal.flushNow()
    const [counter = 0] = countersOf(durableSession(alice, BOB), 'sending')
    await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from('two') })
    alice.journal.flushNow()
    expect(countersOf(durableSession(alice, BOB), 'sending')).toEqual([counter + 1])
  })

  it('uses one session under the phone number and the LID, one operation at a time', async () => {
    const { alice, bob } = await newPair()
    await alice.store.stepKeys.set({ 'lid-mapping': { '5511': '200', '200_reverse': '5511' } })
    const numbers = Array.from({ length: 12 }, (_, number) => number)
    const encrypted = await Promise.all(
      numbers.map((number) =>
        alice.repository.encryptMessage({
          jid: number % 2 === 0 ? '5511@s.whatsapp.net' : BOB,
          data: Buffer.from(`message ${number}`),
        }),
      ),
    )
    const answers = await Promise.all(
      numbers.map((number) => bob.repository.encryptMessage({ jid: ALICE, data: Buffer.from(`answer ${number}`) })),
    )
    const texts = await Promise.all([
      ...encrypted.map(({ type, ciphertext }) => bob.repository.decryptMessage({ jid: ALICE, type, ciphertext })),
      ...answers.map(({ type, ciphertext }) => alice.repository.decryptMessage({ jid: BOB, type, ciphertext })),
    ])
    expect(texts.map(String).sort()).toEqual(
      numbers.flatMap((number) => [`message ${number}`, `answer ${number}`]).sort(),
    )
    expect(alice.lidQuestions).toEqual([])
  })

  it('in the library as it comes, uses a counter twice there', async () => {
    const { alice, bob } = await newPair()
    await alice.store.stepKeys.set({ 'lid-mapping': { '5511': '200', '200_reverse': '5511' } })
    const keys = baileys.addTransactionCapability(alice.store.keys, silentLogger(), STOCK_TRANSACTIONS)
    const make = baileys.DEFAULT_CONNECTION_CONFIG.makeSignalRepository
    const stock = make({ creds: alice.creds, keys }, silentLogger(), async () => [])
    const encrypted = await Promise.all(
      ['5511@s.whatsapp.net', BOB].map((jid) => stock.encryptMessage({ jid, data: Buffer.from(jid) })),
    )
    const outcomes = await Promise.allSettled(
      encrypted.map(({ type, ciphertext }) => bob.repository.decryptMessage({ jid: ALICE, type, ciphertext })),
    )
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  it('asks WhatsApp about a number without a LID once, and outside of any step', async () => {
    const { alice } = await newPair()
    const session = bundleOf(baileys, baileys.initAuthCreds())
    await alice.repository.injectE2ESession({ jid: '5599@s.whatsapp.net', session })
    await alice.repository.encryptMessage({ jid: '5599@s.whatsapp.net', data: Buffer.from('hi') })
    expect(alice.lidQuestions).toEqual([['5599@s.whatsapp.net']])
  })
})

const STOCK_TRANSACTIONS = { maxCommitRetries: 1, delayBetweenTriesMs: 1 }

describe('decrypting', () => {
  it('journals the step and the message as one entry', async () => {
    const { alice, bob } = await newPair()
    const before = bob.journal.tail
    await deliver(alice, bob, 'one')
    expect(bob.journal.tail).toBe(before + 1)
    bob.journal.flushNow()
    expect(received(bob, ALICE).ratchet).toBe(received(bob, ALICE).rows)
  })

  it('never lets a flush see the step without the message, whenever it comes', async () => {
    const { alice, bob } = await newPair()
    const encrypted = []
    for (let number = 0; number < 20; number++) {
      encrypted.push(await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from(`message ${number}`) }))
    }
    const work = Promise.all(
      encrypted.flatMap(({ type, ciphertext }) => [
        bob.repository.decryptMessage({ jid: ALICE, type, ciphertext }),
        // Another entry for the same key, all the time: were it to show newer values, it would show the step.
        bob.repository.encryptMessage({ jid: ALICE, data: Buffer.from('meanwhile') }),
      ]),
    )
    let looks = 0
    await storm(work, () => {
      bob.journal.flushNow()
      const { ratchet, rows } = received(bob, ALICE)
      expect(ratchet).toBeLessThanOrEqual(rows)
      looks += 1
    })
    bob.journal.flushNow()
    expect(received(bob, ALICE)).toEqual({ ratchet: 21, rows: 21 })
    expect(looks).toBeGreaterThan(encrypted.length)
  })

  it('would be seen half done if step and message were journaled one after the other', async () => {
    const { alice, bob } = await newPair()
    const naive = naiveRepository(bob)
    const { type, ciphertext } = await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from('one') })
    let halves = 0
    await storm(naive.decryptMessage({ jid: ALICE, type, ciphertext }), () => {
      bob.journal.flushNow()
      const { ratchet, rows } = received(bob, ALICE)
      if (ratchet > rows) halves += 1
    })
    expect(halves).toBeGreaterThan(0)
  })

  it('changes nothing when it fails', async () => {
    const { alice, bob } = await newPair()
    const { type, ciphertext } = await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from('one') })
    const damaged = Buffer.from(ciphertext)
    damaged[damaged.length - 9] = (damaged.at(-9) ?? 0) ^ 1
    const before = bob.journal.tail
    await expect(bob.repository.decryptMessage({ jid: ALICE, type, ciphertext: damaged })).rejects.toThrow()
    expect(bob.journal.tail).toBe(before)
    expect(bob.failures).toHaveLength(1)
    expect(String(await bob.repository.decryptMessage({ jid: ALICE, type, ciphertext }))).toBe('one')
  })

  it('keeps the old session when a new one turns out to be false', async () => {
    const { alice, bob } = await newPair()
    const mallory = createTestDevice(baileys, { jid: '300@lid' })
    await mallory.repository.injectE2ESession({ jid: BOB, session: bundleOf(baileys, bob.creds) })
    const { type, ciphertext } = await mallory.repository.encryptMessage({ jid: BOB, data: Buffer.from('I am Alice') })
    const damaged = Buffer.from(ciphertext)
    damaged[damaged.length - 9] = (damaged.at(-9) ?? 0) ^ 1
    await expect(bob.repository.decryptMessage({ jid: ALICE, type, ciphertext: damaged })).rejects.toThrow()
    expect(String(await deliver(alice, bob, 'still me'))).toBe('still me')
  })
})

describe('a message that comes again', () => {
  it('is answered from memory on the same connection, and said to be a repeat', async () => {
    const { alice, bob } = await newPair()
    const { type, ciphertext } = await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from('once') })
    const tail = () => bob.journal.tail
    await bob.repository.decryptMessage({ jid: ALICE, type, ciphertext })
    const after = tail()
    expect(String(await bob.repository.decryptMessage({ jid: ALICE, type, ciphertext }))).toBe('once')
    expect(tail()).toBe(after)
    expect(bob.decryptions.slice(-2).map(({ repeated }) => repeated)).toEqual([false, true])
  })

  it('after a crash is answered from its row, and told again', async () => {
    const { alice, bob } = await newPair()
    const { type, ciphertext } = await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from('once') })
    await bob.repository.decryptMessage({ jid: ALICE, type, ciphertext })
    bob.journal.flushNow()
    const reborn = createTestDevice(baileys, { jid: BOB, durable: bob.journal.state })
    expect(String(await reborn.repository.decryptMessage({ jid: ALICE, type, ciphertext }))).toBe('once')
    expect(reborn.decryptions).toMatchObject([{ repeated: false }])
    expect(reborn.failures).toEqual([])
    expect(String(await deliver(alice, reborn, 'twice'))).toBe('twice')
  })

  it('before anything of it was durable is simply received', async () => {
    const { alice, bob } = await newPair()
    bob.journal.flushNow()
    bob.journal.hold()
    const { type, ciphertext } = await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from('once') })
    await bob.repository.decryptMessage({ jid: ALICE, type, ciphertext })
    const reborn = createTestDevice(baileys, { jid: BOB, durable: bob.journal.state })
    expect(String(await reborn.repository.decryptMessage({ jid: ALICE, type, ciphertext }))).toBe('once')
  })

  it('costs no look-up while messages decrypt', async () => {
    let lookups = 0
    const alice = createTestDevice(baileys, { jid: ALICE })
    const bob = createTestDevice(baileys, {
      jid: BOB,
      findRaw: async () => {
        lookups += 1
        return undefined
      },
    })
    await introduce(baileys, alice, bob)
    for (const text of ['one', 'two', 'three']) await deliver(alice, bob, text)
    expect(lookups).toBe(0)
  })

  it('ends the connection when its row cannot be looked up, rather than being refused', async () => {
    const troubles: unknown[] = []
    const alice = createTestDevice(baileys, { jid: ALICE })
    const bob = createTestDevice(baileys, {
      jid: BOB,
      findRaw: () => Promise.reject(new Error('the database is away')),
      onLookupFailure: (error) => troubles.push(error),
    })
    await introduce(baileys, alice, bob)
    await expect(
      bob.repository.decryptMessage({ jid: ALICE, type: 'msg', ciphertext: Buffer.alloc(80, 0x33) }),
    ).rejects.toThrow()
    expect(troubles).toHaveLength(1)
  })
})

describe('a group', () => {
  it('is read by the key that was handed out, each message with its row, repeats from memory', async () => {
    const { alice, bob } = await newPair()
    const group = '123@g.us'
    const encrypt = (text: string) =>
      alice.repository.encryptGroupMessage({ group, meId: ALICE, data: Buffer.from(text) })
    const first = await encrypt('one')
    const item = { groupId: group, axolotlSenderKeyDistributionMessage: first.senderKeyDistributionMessage }
    await bob.repository.processSenderKeyDistributionMessage({ authorJid: ALICE, item })
    const before = bob.journal.tail
    const read = (msg: Uint8Array) => bob.repository.decryptGroupMessage({ group, authorJid: ALICE, msg })
    expect(String(await read(first.ciphertext))).toBe('one')
    expect(String(await read((await encrypt('two')).ciphertext))).toBe('two')
    expect(String(await read(first.ciphertext))).toBe('one')
    expect(bob.journal.tail).toBe(before + 2)
    expect(bob.decryptions.slice(-3).map(({ repeated }) => repeated)).toEqual([false, false, true])
  })
})

describe('a sealed key store', () => {
  it('journals nothing of what is still running', async () => {
    const { alice, bob } = await newPair()
    const { type, ciphertext } = await alice.repository.encryptMessage({ jid: BOB, data: Buffer.from('late') })
    bob.store.seal()
    const before = bob.journal.tail
    await bob.repository.decryptMessage({ jid: ALICE, type, ciphertext })
    await bob.repository.encryptMessage({ jid: ALICE, data: Buffer.from('late') })
    bob.store.saveCreds()
    expect(bob.journal.tail).toBe(before)
  })
})

/** The obvious way: the keys are journaled by `set`, the message when the library has returned its plaintext. */
function naiveRepository({ store, journal, creds }: TestDevice) {
  const make = baileys.DEFAULT_CONNECTION_CONFIG.makeSignalRepository
  const keys = baileys.addTransactionCapability(store.keys, silentLogger(), STOCK_TRANSACTIONS)
  const inner = make({ creds, keys }, silentLogger(), async () => [])
  return {
    async decryptMessage(opts: Parameters<typeof inner.decryptMessage>[0]) {
      const plaintext = await inner.decryptMessage(opts)
      const envelope = { attrs: {}, parts: [], me: {} }
      journal.append({ inbound: { encHash: Buffer.from('naive'), payload: encodeRaw({ envelope, plaintext }) } })
    },
  }
}
