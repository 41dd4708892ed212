/** The files of the mix: as large as what people send, and each one of its own, though all are made of one of each kind. */
import sharp from 'sharp'

export interface SentFile {
  readonly bytes: Buffer
  readonly mimeType: string
  readonly filename: string
}

/** The same file for the same name, in every process. */
export type Files = (content: 'image' | 'document', name: string) => SentFile

const WIDTH = 1_024
const HEIGHT = 768
const DOCUMENT_BYTES = 120_000
const JPEG_COMMENT = 0xfe

/** Pictures of about 90 kB, as phones make them smaller to send, and documents of 120 kB that cannot be compressed. */
export async function createFiles(): Promise<Files> {
  const picture = await sharp(scene(), { raw: { width: WIDTH, height: HEIGHT, channels: 3 } })
    .jpeg({ quality: 80 })
    .toBuffer()
  const filler = noise(DOCUMENT_BYTES)
  return (content, name) =>
    content === 'image'
      ? { bytes: withComment(picture, name), mimeType: 'image/jpeg', filename: `${name}.jpg` }
      : { bytes: pdf(name, filler), mimeType: 'application/pdf', filename: `${name}.pdf` }
}

/** A sky over a ground, with grain. */
function scene(): Buffer {
  const grain = noise(WIDTH * HEIGHT)
  const pixels = Buffer.alloc(WIDTH * HEIGHT * 3)
  for (let at = 0; at < WIDTH * HEIGHT; at++) {
    const light = (at / (WIDTH * HEIGHT)) * 160 + ((grain[at] ?? 0) & 0x3f)
    pixels.set([40 + light / 2, 60 + light / 3, 220 - light], at * 3)
  }
  return pixels
}

/** A marker of its own makes it another file and leaves the picture as it is. */
function withComment(picture: Buffer, comment: string): Buffer {
  const words = Buffer.from(comment)
  const marker = Buffer.from([0xff, JPEG_COMMENT, 0, 0])
  marker.writeUInt16BE(words.length + 2, 2)
  return Buffer.concat([picture.subarray(0, 2), marker, words, picture.subarray(2)])
}

const pdf = (name: string, filler: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`%PDF-1.4\n% ${name}\n`), filler, Buffer.from('\n%%EOF\n')])

/** Xorshift: bytes without order, the same in every process. */
function noise(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  let state = 0x9e3779b9
  for (let at = 0; at < size; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes[at] = state & 0xff
  }
  return bytes
}
