export type ScannedQr = {
  readonly ref: string
  readonly noiseKey: Buffer
  readonly identity: Buffer
  readonly advSecret: Buffer
}

/** Reads `[https://…#]ref,noiseKey,identityKey,advSecret[,platform]`; null when it is no WhatsApp QR. */
export function parseQr(text: string): ScannedQr | null {
  const fields = text.trim().split('#').at(-1)?.split(',') ?? []
  const [ref, noise, identity, advSecret] = fields
  if (!ref || !noise || !identity || !advSecret) return null
  const keys = [noise, identity, advSecret].map((field) => Buffer.from(field, 'base64'))
  const [noiseKey, identityKey, secret] = keys
  if (!noiseKey || !identityKey || !secret || keys.some((key) => key.length !== 32)) return null
  return { ref, noiseKey, identity: identityKey, advSecret: secret }
}
