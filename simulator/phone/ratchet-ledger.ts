import { createHash } from 'node:crypto'

export type Sighting = 'new' | 'same-bytes' | 'reused-counter' | 'unreadable'

export type RatchetLedger = {
  /** Notes an incoming ciphertext before it is decrypted. */
  note(remote: string, type: string, ciphertext: Uint8Array): Sighting
}

/**
 * Remembers which (session, ratchet key, counter) have been seen. The same bytes again are a redelivery; other bytes
 * under a used counter mean that the sender went back to an old ratchet state, which is what a crash must never cause.
 */
export function createRatchetLedger(): RatchetLedger {
  const seen = new Map<string, Map<number, number>>()
  return {
    note(remote, type, ciphertext) {
      const step = readStep(type, ciphertext)
      if (!step) return 'unreadable'
      const key = `${remote} ${step.ratchetKey}`
      const counters = seen.get(key) ?? new Map<number, number>()
      seen.set(key, counters)
      const before = counters.get(step.counter)
      if (before === undefined) {
        counters.set(step.counter, step.fingerprint)
        return 'new'
      }
      return before === step.fingerprint ? 'same-bytes' : 'reused-counter'
    },
  }
}

type RatchetStep = { ratchetKey: string; counter: number; fingerprint: number }

function readStep(type: string, ciphertext: Uint8Array): RatchetStep | null {
  try {
    if (type === 'skmsg') return readGroupStep(ciphertext)
    const whisper = type === 'pkmsg' ? innerMessage(ciphertext) : ciphertext
    const fields = readFields(whisper.subarray(1, whisper.length - 8))
    const ratchetKey = fields.bytes.get(1)
    if (!ratchetKey) return null
    return {
      ratchetKey: Buffer.from(ratchetKey).toString('base64'),
      counter: fields.numbers.get(2) ?? 0,
      fingerprint: createHash('sha256').update(whisper).digest().readUInt32BE(0),
    }
  } catch {
    return null
  }
}

const SIGNATURE_BYTES = 64

/** A SenderKeyMessage: id of the key, iteration, ciphertext, and a signature at its end. */
function readGroupStep(ciphertext: Uint8Array): RatchetStep | null {
  const { numbers } = readFields(ciphertext.subarray(1, ciphertext.length - SIGNATURE_BYTES))
  const keyId = numbers.get(1)
  if (keyId === undefined) return null
  return {
    ratchetKey: `group ${keyId}`,
    counter: numbers.get(2) ?? 0,
    fingerprint: createHash('sha256').update(ciphertext).digest().readUInt32BE(0),
  }
}

/** Field 4 of a PreKeyWhisperMessage is the WhisperMessage it carries. */
function innerMessage(ciphertext: Uint8Array): Uint8Array {
  const inner = readFields(ciphertext.subarray(1)).bytes.get(4)
  if (!inner) throw new Error('a pkmsg without message')
  return inner
}

type Fields = { bytes: Map<number, Uint8Array>; numbers: Map<number, number> }

/** Two tiny messages are not worth a schema: fields of protobuf wire types 0 (number) and 2 (bytes). */
function readFields(data: Uint8Array): Fields {
  const fields: Fields = { bytes: new Map(), numbers: new Map() }
  let offset = 0
  const varint = () => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = data[offset++]
      if (byte === undefined) throw new Error('cut off')
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  while (offset < data.length) {
    const tag = varint()
    const field = Math.floor(tag / 8)
    if (tag % 8 === 0) {
      fields.numbers.set(field, varint())
      continue
    }
    if (tag % 8 !== 2) throw new Error(`wire type ${tag % 8}`)
    const size = varint()
    fields.bytes.set(field, data.subarray(offset, offset + size))
    offset += size
  }
  return fields
}
