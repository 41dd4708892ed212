/** A stream in parts of one size, of which one is in memory at a time. */
import type { Turns } from '../../kernel/turns.js'

export interface Part {
  /** Valid until the next part is asked for: the memory is used again. */
  readonly bytes: Uint8Array
  readonly isLast: boolean
}

export interface PartOptions {
  readonly partBytes: number
  /** Who needs more than a fifth of a part takes a turn, and has it to the end. */
  readonly turns: Turns
}

const FIRST_BYTES = 64 * 1024

/** There is always a last part, if an empty one. Whatever the size of the pieces that come, the memory is a part's. */
export async function* splitIntoParts(
  content: AsyncIterable<Uint8Array>,
  { partBytes, turns }: PartOptions,
): AsyncGenerator<Part> {
  const smallBytes = Math.floor(partBytes / 5)
  let buffer = Buffer.allocUnsafeSlow(Math.min(FIRST_BYTES, partBytes))
  let length = 0
  let turn: { end(): void } | undefined
  try {
    for await (const chunk of content) {
      for (let at = 0; at < chunk.length; ) {
        if (length === partBytes) {
          yield { bytes: buffer, isLast: false }
          length = 0
        }
        const taken = Math.min(chunk.length - at, partBytes - length)
        if (length + taken > smallBytes) turn ??= await begin(turns)
        if (length + taken > buffer.length) buffer = grown(buffer, length, Math.min(partBytes, (length + taken) * 2))
        buffer.set(chunk.subarray(at, at + taken), length)
        length += taken
        at += taken
      }
    }
    yield { bytes: buffer.subarray(0, length), isLast: true }
  } finally {
    turn?.end()
  }
}

function grown(buffer: Buffer, length: number, bytes: number) {
  const larger = Buffer.allocUnsafeSlow(bytes)
  buffer.copy(larger, 0, 0, length)
  return larger
}

/** Resolves when the turn has come; it lasts until it is ended. */
function begin(turns: Turns): Promise<{ end(): void }> {
  return new Promise((begun) => {
    void turns.take(() => new Promise<void>((end) => begun({ end })))
  })
}
