/**
 * Length and size of a film, from the boxes of its container (ISO 14496-12: MP4, QuickTime, 3GPP). Nothing of the film itself
 * is read, so there is no picture of it: taking out a frame needs a decoder, and no light library has one.
 */

export interface Film {
  /** As it is shown: a film that a phone recorded upright is stored lying on its side. */
  readonly width?: number
  readonly height?: number
  readonly seconds?: number
}

/** The index of a film of an hour has a few MB; what says it has more is no film for a phone. */
const MAX_INDEX_BYTES = 32 * 1024 * 1024
/** A week: what says more is damaged. */
const MAX_SECONDS = 7 * 86_400
const HEADER_BYTES = 8
const LONG_HEADER_BYTES = 16

/** Undefined when there is no index in it. Holds the index and nothing else; throws RangeError on one that is damaged. */
export async function readFilm(content: AsyncIterable<Uint8Array>): Promise<Film | undefined> {
  const bytes = createReader(content)
  for (;;) {
    const header = await bytes.take(HEADER_BYTES)
    if (!header) return undefined
    const length = header.readUInt32BE(0)
    const long = length === 1 ? await bytes.take(LONG_HEADER_BYTES - HEADER_BYTES) : undefined
    const size = long ? Number(long.readBigUInt64BE(0)) - LONG_HEADER_BYTES : length - HEADER_BYTES
    // 0: up to the end of the file; less: no box.
    if (size < 0) return undefined
    if (header.toString('latin1', 4, 8) !== 'moov') {
      if (!(await bytes.skip(size))) return undefined
      continue
    }
    const index = size <= MAX_INDEX_BYTES ? await bytes.take(size) : undefined
    return index && readIndex(index)
  }
}

function readIndex(index: Buffer): Film {
  const boxes = boxesOf(index)
  const seconds = readSeconds(boxes)
  for (const { name, body } of boxes) {
    const head = name === 'trak' ? boxesOf(body).find((box) => box.name === 'tkhd')?.body : undefined
    const size = head && readSize(head)
    if (size) return { ...size, ...seconds }
  }
  return { ...seconds }
}

/** Fragmented films say it in a box of their own. */
function readSeconds(boxes: readonly Box[]): { seconds?: number } {
  const movie = boxes.find(({ name }) => name === 'mvhd')?.body
  if (!movie) return {}
  const isLong = movie.readUInt8(0) === 1
  const timescale = movie.readUInt32BE(isLong ? 20 : 12)
  const whole = isLong ? Number(movie.readBigUInt64BE(24)) : movie.readUInt32BE(16)
  const extension = boxesOf(boxes.find(({ name }) => name === 'mvex')?.body ?? Buffer.of())
  const fragments = extension.find(({ name }) => name === 'mehd')?.body
  const ticks = whole || (fragments ? readTicks(fragments) : 0)
  const seconds = ticks / timescale
  return seconds > 0 && seconds <= MAX_SECONDS ? { seconds } : {}
}

const readTicks = (body: Buffer): number =>
  body.readUInt8(0) === 1 ? Number(body.readBigUInt64BE(4)) : body.readUInt32BE(4)

/** Of a track that is seen; sounds are of no size. */
function readSize(head: Buffer): { width: number; height: number } | undefined {
  const matrix = head.readUInt8(0) === 1 ? 52 : 40
  const isTurned = head.readInt32BE(matrix) === 0 && head.readInt32BE(matrix + 16) === 0
  const [across, down] = [head.readUInt32BE(matrix + 36) >>> 16, head.readUInt32BE(matrix + 40) >>> 16]
  if (across === 0 || down === 0) return undefined
  return isTurned ? { width: down, height: across } : { width: across, height: down }
}

interface Box {
  readonly name: string
  readonly body: Buffer
}

/** Those that lie in a box; ends at the first that does not. */
function boxesOf(body: Buffer): Box[] {
  const boxes: Box[] = []
  for (let at = 0; at + HEADER_BYTES <= body.length; ) {
    const size = body.readUInt32BE(at)
    if (size < HEADER_BYTES || at + size > body.length) break
    boxes.push({ name: body.toString('latin1', at + 4, at + 8), body: body.subarray(at + HEADER_BYTES, at + size) })
    at += size
  }
  return boxes
}

function createReader(content: AsyncIterable<Uint8Array>) {
  const chunks = content[Symbol.asyncIterator]()
  let pending: Buffer = Buffer.of()

  async function more(): Promise<boolean> {
    const next = await chunks.next()
    if (next.done) return false
    pending = Buffer.from(next.value)
    return true
  }

  return {
    /** Undefined when there are not so many. */
    async take(count: number): Promise<Buffer | undefined> {
      const parts: Buffer[] = []
      let missing = count
      while (missing > 0) {
        if (pending.length === 0 && !(await more())) return undefined
        const part = pending.subarray(0, missing)
        parts.push(part)
        missing -= part.length
        pending = pending.subarray(part.length)
      }
      return Buffer.concat(parts)
    },
    async skip(count: number): Promise<boolean> {
      let left = count
      while (left > pending.length) {
        left -= pending.length
        if (!(await more())) return false
      }
      pending = pending.subarray(left)
      return true
    },
  }
}
