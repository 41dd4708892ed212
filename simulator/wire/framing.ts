const WA_HEADER = Buffer.from([0x57, 0x41, 6, 3])
const EDGE_ROUTING_MARK = Buffer.from('ED')

export type Intro = { readonly header: Buffer; readonly routingInfo: Buffer | null }

export type FrameReader = { push(bytes: Uint8Array): void }

/**
 * Cuts the client's byte stream into frames. The stream begins with the intro (optional edge routing, then "WA" and two
 * version bytes); afterwards each frame is a 3-byte length and its body, split over websocket messages in any way.
 */
export function createFrameReader(on: { intro(intro: Intro): void; frame(body: Buffer): void }): FrameReader {
  let pending: Buffer = Buffer.alloc(0)
  let introduced = false

  const readIntro = (): boolean => {
    const intro = parseIntro(pending)
    if (!intro) return false
    pending = pending.subarray(intro.size)
    introduced = true
    on.intro(intro)
    return true
  }

  return {
    push(bytes) {
      pending = pending.length ? Buffer.concat([pending, bytes]) : Buffer.from(bytes)
      if (!introduced && !readIntro()) return
      while (pending.length >= 3) {
        const size = pending.readUIntBE(0, 3)
        if (pending.length < size + 3) return
        const body = pending.subarray(3, size + 3)
        pending = pending.subarray(size + 3)
        on.frame(body)
      }
    },
  }
}

export function encodeFrame(body: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(body.length + 3)
  frame.writeUIntBE(body.length, 0, 3)
  frame.set(body, 3)
  return frame
}

function parseIntro(bytes: Buffer): (Intro & { size: number }) | null {
  let offset = 0
  let routingInfo: Buffer | null = null
  if (bytes.length >= 7 && bytes.subarray(0, 2).equals(EDGE_ROUTING_MARK)) {
    const size = bytes.readUIntBE(4, 3)
    if (bytes.length < 7 + size) return null
    routingInfo = bytes.subarray(7, 7 + size)
    offset = 7 + size
  }
  if (bytes.length < offset + 4) return null
  const header = bytes.subarray(offset, offset + 4)
  if (!header.equals(WA_HEADER)) throw new Error(`the stream begins with ${header.toString('hex')}, not with 57410603`)
  return { header, routingInfo, size: offset + 4 }
}
