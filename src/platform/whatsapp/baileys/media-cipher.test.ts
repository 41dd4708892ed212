import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect, it } from 'vitest'
import { loadBaileys } from './load.js'
import { decryptMedia, encryptedSize, encryptMedia } from './media-cipher.js'

const baileys = await loadBaileys()
const mediaKey = randomBytes(32)
const { iv, cipherKey, macKey = null } = await baileys.getMediaKeys(mediaKey, 'image')
const keys = { iv, cipherKey, macKey: macKey ?? Buffer.of() }
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest()

const inPieces = (data: Buffer, size: number) =>
  Readable.from(
    Array.from({ length: Math.ceil(data.length / size) }, (_, at) => data.subarray(at * size, (at + 1) * size)),
  )
const encrypted = (data: Buffer) => buffer(encryptMedia(inPieces(data, 1_000), keys))
const decrypted = (data: Buffer, size: number, hash?: Buffer) => buffer(decryptMedia(inPieces(data, size), keys, hash))

it.each([0, 1, 15, 16, 17, 9_999, 100_000])(
  '%i bytes come out as they went in, in pieces of any size',
  async (size) => {
    const data = randomBytes(size)
    const sealed = await encrypted(data)
    expect(sealed).toHaveLength(encryptedSize(size))
    for (const piece of [sealed.length, 1_024, 7]) {
      expect(await decrypted(sealed, piece, sha256(data))).toEqual(data)
      if (size > 20_000) break
    }
  },
)

it('the library reads what we write, and we what it writes', async () => {
  const data = randomBytes(50_000)
  const { encFilePath, mediaKey: theirKey, fileEncSha256 } = await baileys.encryptedStream(data, 'image')
  const theirs = await import('node:fs/promises').then(async (fs) => {
    const bytes = await fs.readFile(encFilePath)
    await fs.unlink(encFilePath)
    return bytes
  })
  expect(sha256(theirs)).toEqual(Buffer.from(fileEncSha256))
  const theirKeys = await baileys.getMediaKeys(theirKey, 'image')
  const read = await buffer(decryptMedia(inPieces(theirs, 999), { ...keys, ...theirKeys } as typeof keys, sha256(data)))
  expect(read).toEqual(data)
  expect(sha256(await buffer(encryptMedia(inPieces(data, 64), { ...keys, ...theirKeys } as typeof keys)))).toEqual(
    sha256(theirs),
  )
})

it.each<[string, (sealed: Buffer) => Buffer]>([
  [
    'a byte that was changed',
    (sealed) => Buffer.concat([sealed.subarray(0, 100), Buffer.of((sealed[100] ?? 0) ^ 1), sealed.subarray(101)]),
  ],
  ['an end that is missing', (sealed) => sealed.subarray(0, -16)],
  ['a wrong code', (sealed) => Buffer.concat([sealed.subarray(0, -1), Buffer.of((sealed.at(-1) ?? 0) ^ 1)])],
  ['nothing', () => Buffer.of()],
])('%s is noticed', async (_name, change) => {
  const sealed = await encrypted(randomBytes(1_000))
  await expect(decrypted(change(sealed), 300)).rejects.toMatchObject({ name: 'MediaError', code: 'corrupt' })
})

it('another file than the one that was announced is noticed', async () => {
  const sealed = await encrypted(randomBytes(1_000))
  await expect(decrypted(sealed, 300, randomBytes(32))).rejects.toMatchObject({ code: 'corrupt' })
})
