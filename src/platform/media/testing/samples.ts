/** Small real files, made as they are needed. */
import sharp from 'sharp'

export async function jpeg(width = 320, height = 200, orientation = 1): Promise<Buffer> {
  return drawn(width, height).withMetadata({ orientation }).jpeg().toBuffer()
}

export async function png(width = 120, height = 90): Promise<Buffer> {
  return drawn(width, height).png().toBuffer()
}

export async function webp(): Promise<Buffer> {
  return drawn(512, 512).webp().toBuffer()
}

const drawn = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 200, g: 40, b: 90 } } })

export const pdf = (): Buffer => Buffer.from('%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n')

/** A Windows program, by its first bytes. */
export const program = (): Buffer => Buffer.concat([Buffer.from('MZ'), Buffer.alloc(510, 0x90)])

/** Silence, 8,000 samples a second of one byte. */
export function wav(seconds: number): Buffer {
  const samples = 8_000 * seconds
  const header = Buffer.alloc(44)
  header.write('RIFF', 0)
  header.writeUInt32LE(36 + samples, 4)
  header.write('WAVEfmt ', 8)
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(1, 20)
  header.writeUInt16LE(1, 22)
  header.writeUInt32LE(8_000, 24)
  header.writeUInt32LE(8_000, 28)
  header.writeUInt16LE(1, 32)
  header.writeUInt16LE(8, 34)
  header.write('data', 36)
  header.writeUInt32LE(samples, 40)
  return Buffer.concat([header, Buffer.alloc(samples, 0x80)])
}

/** An MP4 of one empty box after its type, enough for whoever looks at signatures. */
export function mp4(extraBytes = 1_000): Buffer {
  const type = Buffer.concat([Buffer.of(0, 0, 0, 24), Buffer.from('ftypisom\0\0\x02\0isommp42', 'latin1')])
  const free = Buffer.alloc(8 + extraBytes)
  free.writeUInt32BE(free.length, 0)
  free.write('free', 4)
  return Buffer.concat([type, free])
}

interface FilmShape {
  readonly width?: number
  readonly height?: number
  readonly seconds?: number
  /** Recorded upright: stored lying on its side. */
  readonly turned?: boolean
  /** Where phones and encoders that write as they go put the index. */
  readonly indexAtEnd?: boolean
  /** 64-bit times. */
  readonly long?: boolean
}

/** An MP4 with the index of a film and of its sound, around bytes that are no film. */
export function film(shape: FilmShape = {}): Buffer {
  const { width = 1_280, height = 720, seconds = 12.4, turned = false, indexAtEnd = false, long = false } = shape
  const head = (name: string, fields: Buffer) => box(name, Buffer.of(long ? 1 : 0, 0, 0, 0), fields)
  const time = (value: number) => {
    const bytes = Buffer.alloc(long ? 8 : 4)
    bytes.writeUIntBE(value, bytes.length - 4, 4)
    return bytes
  }
  const uint32 = (value: number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(value)
    return bytes
  }
  const matrix = (
    turned ? [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000] : [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 1]
  ).map(uint32)
  const track = (across: number, down: number) =>
    box(
      'trak',
      head(
        'tkhd',
        Buffer.concat([
          time(0),
          time(0),
          uint32(1),
          uint32(0),
          time(0),
          Buffer.alloc(16),
          ...matrix,
          uint32(across << 16),
          uint32(down << 16),
        ]),
      ),
    )
  const [across, down] = turned ? [height, width] : [width, height]
  const movie = head(
    'mvhd',
    Buffer.concat([time(0), time(0), uint32(1_000), time(Math.round(seconds * 1_000)), Buffer.alloc(80)]),
  )
  const index = box('moov', movie, track(0, 0), track(across, down))
  const type = Buffer.concat([Buffer.of(0, 0, 0, 24), Buffer.from('ftypisom\0\0\x02\0isommp42', 'latin1')])
  const bytes = box('mdat', Buffer.alloc(10_000, 7))
  return Buffer.concat(indexAtEnd ? [type, bytes, index] : [type, index, bytes])
}

function box(name: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const header = Buffer.alloc(8)
  header.writeUInt32BE(8 + body.length)
  header.write(name, 4, 'latin1')
  return Buffer.concat([header, body])
}

const PRE_SKIP = 312
const SAMPLES_PER_PACKET = 960

/** A voice note of packets of these sizes, 20 ms each. Its sounds are noise, its pages are as RFC 7845 has them. */
export function voiceNote(sizes: readonly number[]): Buffer {
  const head = Buffer.alloc(19)
  head.write('OpusHead', 0)
  head.writeUInt8(1, 8)
  head.writeUInt8(1, 9)
  head.writeUInt16LE(PRE_SKIP, 10)
  head.writeUInt32LE(48_000, 12)
  const tags = Buffer.concat([Buffer.from('OpusTags'), Buffer.alloc(8)])
  const pages = [page([head], 0n, 2), page([tags], 0n, 0)]
  for (let at = 0; at < sizes.length; at += 40) {
    const packets = sizes.slice(at, at + 40).map((size) => Buffer.alloc(size, at & 0xff))
    const granule = BigInt(PRE_SKIP + Math.min(at + 40, sizes.length) * SAMPLES_PER_PACKET)
    pages.push(page(packets, granule, at + 40 >= sizes.length ? 4 : 0))
  }
  return Buffer.concat(pages)
}

function page(packets: readonly Buffer[], granule: bigint, flags: number): Buffer {
  const lacing = packets.flatMap(({ length }) => [
    ...Array.from({ length: Math.floor(length / 255) }, () => 255),
    length % 255,
  ])
  const header = Buffer.alloc(27)
  header.write('OggS', 0)
  header.writeUInt8(flags, 5)
  header.writeBigUInt64LE(granule, 6)
  header.writeUInt8(lacing.length, 26)
  return Buffer.concat([header, Buffer.from(lacing), ...packets])
}
