/**
 * Length and loudness of a voice note, read from the pages of an Ogg file without decoding a sound. The length stands in the
 * last page (RFC 7845). The loudness is estimated: Opus as phones write it spends more bytes on what is louder, so the sizes
 * of the packets draw nearly the curve that decoding would, for a hundredth of the work and without a codec to carry.
 */

export interface VoiceNote {
  readonly seconds: number
  /** 64 values from 0 to 100, as WhatsApp draws them; left out where all packets are of one size, which tells nothing. */
  readonly waveform?: Buffer
}

const WAVEFORM_BARS = 64
const SAMPLES_PER_SECOND = 48_000
const PAGE_HEADER_BYTES = 27
/** About eleven hours of speech: beyond it nobody looks at the curve. */
const MAX_PACKETS = 2_000_000
const MAX_GRANULE = BigInt(SAMPLES_PER_SECOND) * 86_400n * 7n

/** Undefined when it is not Opus in Ogg, or is damaged. Holds a page at a time, which is 64 kB at most. */
export async function readVoiceNote(content: AsyncIterable<Uint8Array>): Promise<VoiceNote | undefined> {
  const sizes: number[] = []
  let preSkip: number | undefined
  let last = 0n
  let packetBytes = 0
  let packetCount = 0
  for await (const { granule, lacing, payload } of pagesOf(content)) {
    if (preSkip === undefined) {
      if (payload.toString('latin1', 0, 8) !== 'OpusHead' || payload.length < 19) return undefined
      preSkip = payload.readUInt16LE(10)
    }
    for (const bytes of lacing) {
      packetBytes += bytes
      if (bytes === 255) continue
      packetCount += 1
      // The first two are headers.
      if (packetCount > 2 && sizes.length < MAX_PACKETS) sizes.push(packetBytes)
      packetBytes = 0
    }
    // All ones: no packet ends on this page.
    if (granule <= MAX_GRANULE && granule > last) last = granule
  }
  if (preSkip === undefined || sizes.length === 0) return undefined
  const samples = Math.max(0, Number(last) - preSkip)
  const waveform = drawWaveform(sizes)
  return { seconds: samples / SAMPLES_PER_SECOND, ...(waveform ? { waveform } : {}) }
}

/** The mean of each of 64 stretches, from the quietest (0) to the loudest (100). */
export function drawWaveform(sizes: readonly number[]): Buffer | undefined {
  const bars = Array.from({ length: WAVEFORM_BARS }, (_, bar) => {
    const from = Math.floor((bar * sizes.length) / WAVEFORM_BARS)
    const to = Math.max(from + 1, Math.floor(((bar + 1) * sizes.length) / WAVEFORM_BARS))
    const stretch = sizes.slice(from, to)
    return stretch.reduce((sum, size) => sum + size, 0) / Math.max(1, stretch.length)
  })
  const least = Math.min(...bars)
  const most = Math.max(...bars)
  // A constant bit rate: the sizes say nothing.
  if (most - least < most * 0.1) return undefined
  return Buffer.from(bars.map((bar) => Math.round((100 * (bar - least)) / (most - least))))
}

interface Page {
  readonly granule: bigint
  readonly lacing: Buffer
  readonly payload: Buffer
}

/** Ends at the first thing that is no page. */
async function* pagesOf(content: AsyncIterable<Uint8Array>): AsyncGenerator<Page> {
  let pending = Buffer.alloc(0)
  for await (const chunk of content) {
    pending = pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([pending, chunk])
    for (;;) {
      if (pending.length < PAGE_HEADER_BYTES) break
      if (pending.toString('latin1', 0, 4) !== 'OggS') return
      const lacingEnd = PAGE_HEADER_BYTES + pending.readUInt8(26)
      if (pending.length < lacingEnd) break
      const lacing = pending.subarray(PAGE_HEADER_BYTES, lacingEnd)
      const end = lacingEnd + lacing.reduce((sum, bytes) => sum + bytes, 0)
      if (pending.length < end) break
      yield { granule: pending.readBigUInt64LE(6), lacing, payload: pending.subarray(lacingEnd, end) }
      pending = pending.subarray(end)
    }
  }
}
