import { describe, expect, it } from 'vitest'
import { parseQr } from './qr.js'

const key = (fill: number) => Buffer.alloc(32, fill).toString('base64')
const FIELDS = `the-ref,${key(1)},${key(2)},${key(3)},1`

describe('a QR code', () => {
  it.each([FIELDS, `https://wa.me/settings/linked_devices#${FIELDS}`, ` ${FIELDS}\n`])(
    'is read with and without its address',
    (text) => {
      expect(parseQr(text)).toEqual({
        ref: 'the-ref',
        noiseKey: Buffer.alloc(32, 1),
        identity: Buffer.alloc(32, 2),
        advSecret: Buffer.alloc(32, 3),
      })
    },
  )

  it.each(['', 'hello', 'a,b,c,d', `ref,${key(1)},${key(2)}`])('is not %j', (text) => {
    expect(parseQr(text)).toBeNull()
  })
})
