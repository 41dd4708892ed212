/**
 * How a credential value is stored: one byte that says how, then the bytes. Most are JSON as Baileys shapes them, with binary
 * parts in base64; what is nothing but bytes stays bytes.
 */
const RAW = 0
const JSON_TEXT = 1

/** Values of these kinds hold strings and numbers only, so the walk in search of bytes is spared on the hot path. */
const KINDS_WITHOUT_BYTES: ReadonlySet<string> = new Set(['session', 'lid-mapping', 'device-list', 'sender-key-memory'])

export function encodeValue(kind: string, value: unknown): Buffer {
  if (value instanceof Uint8Array) return Buffer.concat([Buffer.of(RAW), value])
  const text = KINDS_WITHOUT_BYTES.has(kind) ? JSON.stringify(value) : JSON.stringify(value, bytesToBase64)
  const encoded = Buffer.allocUnsafe(1 + Buffer.byteLength(text))
  encoded[0] = JSON_TEXT
  encoded.write(text, 1)
  return encoded
}

/** Throws on bytes that `encodeValue` did not write. */
export function decodeValue(kind: string, encoded: Buffer): unknown {
  if (encoded[0] === RAW) return Buffer.from(encoded.subarray(1))
  if (encoded[0] !== JSON_TEXT) throw new TypeError(`a stored ${kind} of unknown encoding`)
  const text = encoded.toString('utf8', 1)
  return KINDS_WITHOUT_BYTES.has(kind) ? JSON.parse(text) : JSON.parse(text, base64ToBytes)
}

/** Looks at the holder: by the time a replacer sees a Buffer, its own `toJSON` has made an array of numbers of it. */
function bytesToBase64(this: Record<string, unknown>, key: string, value: unknown): unknown {
  const held = this[key]
  return held instanceof Uint8Array ? { $bytes: Buffer.from(held).toString('base64') } : value
}

function base64ToBytes(_key: string, value: unknown): unknown {
  const bytes = (value as { $bytes?: unknown } | null)?.$bytes
  return typeof bytes === 'string' ? Buffer.from(bytes, 'base64') : value
}
