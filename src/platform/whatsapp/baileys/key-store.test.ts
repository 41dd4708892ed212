import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { createTestJournal } from '../testing/journal.js'
import { createKeyStore, UnreadableCredentials } from './key-store.js'
import { type BaileysLibrary, loadBaileys } from './load.js'
import { decodeValue, encodeValue } from './value-codec.js'

let baileys: BaileysLibrary

beforeAll(async () => {
  baileys = await loadBaileys()
})

function open(journal = createTestJournal()) {
  const identities: object[] = []
  const store = createKeyStore({
    baileys,
    credentials: journal.snapshot(),
    journal,
    onIdentity: (identity) => identities.push(identity),
  })
  return { store, journal, identities }
}

/** What a process finds that starts with what was made durable. */
const reopen = ({ state }: ReturnType<typeof createTestJournal>) => open(createTestJournal({ durable: state }))

const pair = (seed: number) => ({ private: Buffer.alloc(32, seed), public: Buffer.alloc(32, seed + 1) })

describe('the key store', () => {
  it('gives each kind of value back as it was, after a restart', async () => {
    const { store, journal } = open()
    const keyData = { keyData: Buffer.alloc(32, 7), timestamp: 5 }
    const values = {
      'pre-key': { '1': pair(1) },
      session: { '7_1.0': { version: 'v1', _sessions: {} } as unknown as Uint8Array },
      'sender-key': { 'g::7': Buffer.from('sender key') },
      'sender-key-memory': { g: { '7@lid': true } },
      'app-state-sync-version': {
        regular: { version: 3, hash: Buffer.alloc(128, 1), indexValueMap: { x: { valueMac: Buffer.alloc(32, 2) } } },
      },
      'lid-mapping': { '5522': '77' },
      'device-list': { '5522': ['0', '1'] },
      tctoken: { '77@lid': { token: Buffer.from('token'), timestamp: '5' } },
      'identity-key': { '7_1.0': Buffer.alloc(33, 5) },
    }
    await store.keys.set({ ...values, 'app-state-sync-key': { AAAA: keyData } })
    journal.flushNow()
    const again = reopen(journal).store
    for (const [kind, entries] of Object.entries(values)) {
      expect(await again.keys.get(kind as 'session', Object.keys(entries))).toEqual(entries)
    }
    const { AAAA } = await again.keys.get('app-state-sync-key', ['AAAA'])
    expect(Buffer.from(AAAA?.keyData ?? [])).toEqual(keyData.keyData)
  })

  it('forgets what is deleted, in memory and in the journal', async () => {
    const { store, journal } = open()
    await store.keys.set({ 'pre-key': { '1': pair(1), '2': pair(2) } })
    await store.keys.set({ 'pre-key': { '1': null } })
    journal.flushNow()
    expect(Object.keys(await store.keys.get('pre-key', ['1', '2']))).toEqual(['2'])
    expect([...(journal.state.credentials.get('pre-key')?.keys() ?? [])]).toEqual(['2'])
    const later = reopen(journal)
    await later.store.keys.set({ 'pre-key': { '2': null } })
    expect(await later.store.keys.get('pre-key', ['2'])).toEqual({})
  })

  it('keeps the login, with its account, over a restart', () => {
    const { store, journal } = open()
    const account = baileys.proto.ADVSignedDeviceIdentity.fromObject({ details: Buffer.from('details') })
    Object.assign(store.creds, { me: { id: '5511:1@s.whatsapp.net', lid: '99:1@lid' }, account, nextPreKeyId: 813 })
    store.saveCreds()
    journal.flushNow()
    const { creds } = reopen(journal).store
    expect(creds.noiseKey).toEqual(store.creds.noiseKey)
    expect(creds.nextPreKeyId).toBe(813)
    expect(creds.me).toEqual(store.creds.me)
    expect(baileys.encodeSignedDeviceIdentity(creds.account ?? {}, true)).toEqual(
      baileys.encodeSignedDeviceIdentity(account, true),
    )
  })

  it('journals a login as it was then, not as it is when the journal is flushed', () => {
    const { store, journal } = open()
    store.saveCreds()
    store.creds.nextPreKeyId = 500
    journal.flushNow()
    expect(reopen(journal).store.creds.nextPreKeyId).toBe(1)
  })

  it.each([['not an encoding'], ['\u0001{}'], ['\u0001{"noiseKey":{}}'], ['\u0001nonsense']])(
    'refuses a stored login that says %j',
    (stored) => {
      const credentials = new Map([['creds', new Map([['', Buffer.from(stored)]])]])
      const journal = createTestJournal()
      expect(() => createKeyStore({ baileys, credentials, journal, onIdentity: () => {} })).toThrow(
        UnreadableCredentials,
      )
    },
  )

  it('tells once that a phone and a LID are one person', async () => {
    const { store, identities } = open()
    await store.keys.set({ 'lid-mapping': { '5522': '77', '77_reverse': '5522' } })
    expect(identities).toEqual([{ waId: '5522', lid: '77' }])
    expect([store.lidOf('5522'), store.phoneOf('77'), store.lidOf('1')]).toEqual(['77', '5522', undefined])
  })
})

describe('a step', () => {
  it('sees its own changes and shows them to nobody else until it is committed', async () => {
    const { store, journal } = open()
    const step = store.begin()
    await store.stepKeys.set({ 'pre-key': { '1': pair(1) } })
    expect(Object.keys(await store.stepKeys.get('pre-key', ['1']))).toEqual(['1'])
    expect(await store.keys.get('pre-key', ['1'])).toEqual({})
    expect(journal.tail).toBe(0)
    step.commit()
    expect(Object.keys(await store.keys.get('pre-key', ['1']))).toEqual(['1'])
    expect(journal.tail).toBe(1)
  })

  it('leaves nothing behind when it is undone, but what it learned of the world', async () => {
    const { store, journal } = open()
    const step = store.begin()
    await store.stepKeys.set({ 'pre-key': { '1': pair(1) }, 'lid-mapping': { '5522': '77' } })
    step.undo()
    expect(await store.keys.get('pre-key', ['1'])).toEqual({})
    expect(store.lidOf('5522')).toBe('77')
    expect(journal.tail).toBe(1)
  })

  it('does not delay what Baileys stores meanwhile: a frame may already stand on it', async () => {
    const { store, journal } = open()
    store.begin()
    await store.keys.set({ 'pre-key': { '1': pair(1) } })
    expect(journal.tail).toBe(1)
  })

  it('is not opened inside another', () => {
    const { store } = open()
    store.begin()
    expect(() => store.begin()).toThrow('inside another')
  })
})

it('any value comes back as it was stored', () => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value))
  const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), bytes)
  const value = fc.dictionary(
    fc.string().filter((key) => key !== '$bytes' && key !== '__proto__'),
    fc.oneof(leaf, fc.array(leaf)),
    { noNullPrototype: true },
  )
  fc.assert(
    fc.property(fc.oneof(value, bytes), (stored) => {
      expect(decodeValue('tctoken', encodeValue('tctoken', stored))).toEqual(stored)
    }),
  )
})
