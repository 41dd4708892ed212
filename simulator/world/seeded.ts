import { createHash } from 'node:crypto'

/**
 * Everything the simulator invents (keys, lids, phone numbers, refs) is derived from the seed *and a label*, not drawn
 * from one stream: the lid of a number is the same whatever was created before it, so a config can be fixed in advance.
 */
export type Seeded = {
  readonly seed: number
  bytes(label: string, length: number): Buffer
  digits(label: string, length: number): string
  integer(label: string, below: number): number
  /** A stream of numbers in [0, 1) for decisions that repeat (faults with a probability). */
  stream(label: string): () => number
}

export function createSeeded(seed: number): Seeded {
  const bytes = (label: string, length: number) => expand(`${seed}/${label}`, length)
  return {
    seed,
    bytes,
    digits: (label, length) => digitsOf(bytes(label, length)),
    integer: (label, below) => bytes(label, 6).readUIntBE(0, 6) % below,
    stream: (label) => {
      let drawn = 0
      return () => bytes(`${label}/${drawn++}`, 6).readUIntBE(0, 6) / 2 ** 48
    },
  }
}

/** Digits that depend on the text alone, whatever the seed: the same push name gives the same number everywhere. */
export function digitsFromText(text: string, length: number): string {
  return digitsOf(expand(text, length))
}

function expand(label: string, length: number): Buffer {
  const blocks: Buffer[] = []
  for (let size = 0, index = 0; size < length; size += 32, index++) {
    blocks.push(createHash('sha256').update(`${index}/${label}`).digest())
  }
  return Buffer.concat(blocks).subarray(0, length)
}

function digitsOf(bytes: Buffer): string {
  return Array.from(bytes, (byte) => String(byte % 10)).join('')
}
