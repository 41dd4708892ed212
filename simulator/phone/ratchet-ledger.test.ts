import { describe, expect, it } from 'vitest'
import { keyPairFrom } from '../wire/curve.js'
import { createSeeded } from '../world/seeded.js'
import { createRatchetLedger } from './ratchet-ledger.js'
import { createSimulatedDevice } from './simulated-device.js'

const device = (phone: string, fill: number) =>
  createSimulatedDevice({ seeded: createSeeded(1), phone, identity: keyPairFrom(Buffer.alloc(32, fill)) })

describe('the ratchet ledger', () => {
  it('tells new, repeated and reused counters apart, in both kinds of message', async () => {
    const [writer, reader] = [device('111', 1), device('222', 2)]
    await writer.openSession('222@lid', reader.bundle())
    const ledger = createRatchetLedger()
    const note = (sealed: { type: string; ciphertext: Uint8Array }) =>
      ledger.note('111', sealed.type, sealed.ciphertext)

    const first = await writer.encrypt('222@lid', { conversation: 'one' })
    const second = await writer.encrypt('222@lid', { conversation: 'two' })
    expect(first.type).toBe('pkmsg')
    expect([note(first), note(second), note(first)]).toEqual(['new', 'new', 'same-bytes'])

    expect((await reader.decrypt('111@lid', first)).conversation).toBe('one')
    const reply = await reader.encrypt('111@lid', { conversation: 'three' })
    expect(reply.type).toBe('msg')
    expect(note(reply)).toBe('new')

    const forged = { ...reply, ciphertext: Buffer.from(reply.ciphertext) }
    forged.ciphertext[forged.ciphertext.length - 12] = (forged.ciphertext.at(-12) ?? 0) ^ 1
    expect(note(forged)).toBe('reused-counter')
    expect(note({ type: 'msg', ciphertext: Buffer.from('nonsense') })).toBe('unreadable')
  })
})
