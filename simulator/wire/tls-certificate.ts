import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'
import type { Seeded } from '../world/seeded.js'

/** What a TLS server needs, and what its clients must trust: the same seed and names give the same bytes. */
export type TlsIdentity = { readonly key: string; readonly cert: string }

const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')
const ED25519 = Buffer.from('300506032b6570', 'hex')
const COMMON_NAME = Buffer.from('0603550403', 'hex')
const BASIC_CONSTRAINTS = Buffer.from('0603551d13', 'hex')
const SUBJECT_ALT_NAME = Buffer.from('0603551d11', 'hex')
const VALID_FROM = '240101000000Z'
const VALID_UNTIL = '491231235959Z'
const TRUE = Buffer.from('0101ff', 'hex')

/**
 * A self-signed certificate for these names. Node can check X.509 but not write it, so the few structures are built here;
 * Ed25519, because its signatures need no randomness.
 */
export function createTlsIdentity(seeded: Seeded, names: readonly string[]): TlsIdentity {
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_ED25519, seeded.bytes('tls/key', 32)]),
    format: 'der',
    type: 'pkcs8',
  })
  const name = sequence(set(sequence(COMMON_NAME, text('WhatsApp simulator'))))
  const serial = seeded.bytes('tls/serial', 8)
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 1
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, serial),
    ED25519,
    name,
    sequence(der(0x17, Buffer.from(VALID_FROM)), der(0x17, Buffer.from(VALID_UNTIL))),
    name,
    createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
    der(
      0xa3,
      sequence(
        sequence(BASIC_CONSTRAINTS, TRUE, der(0x04, sequence(TRUE))),
        sequence(SUBJECT_ALT_NAME, der(0x04, sequence(...names.map(alternativeName)))),
      ),
    ),
  )
  const certificate = sequence(body, ED25519, der(0x03, Buffer.concat([Buffer.of(0), sign(null, body, privateKey)])))
  return {
    key: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
    cert: pem(certificate),
  }
}

function alternativeName(name: string): Buffer {
  return isIPv4(name) ? der(0x87, Buffer.from(name.split('.').map(Number))) : der(0x82, Buffer.from(name))
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts))
}

function set(...parts: Buffer[]): Buffer {
  return der(0x31, Buffer.concat(parts))
}

function text(value: string): Buffer {
  return der(0x0c, Buffer.from(value))
}

/** Tag, length, value. */
function der(tag: number, value: Buffer): Buffer {
  const { length } = value
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), value])
  const size = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...size), value])
}

function pem(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
