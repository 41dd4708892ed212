/** What every storage of media keeps. */
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { beforeEach, describe, expect, it } from 'vitest'
import type { MediaStorage } from './media.js'

export interface MediaContractOptions {
  /** An empty storage. */
  readonly create: () => Promise<MediaStorage>
  /** Names of everything that lies in it, drafts included. */
  readonly list: () => Promise<readonly string[]>
}

const KEY = 'tenant/0190-media'
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest()

/** In pieces of odd sizes, as networks deliver. */
function* pieces(data: Buffer): Generator<Buffer> {
  for (let at = 0, size = 1; at < data.length; at += size, size = (size * 7 + 13) % 70_000) {
    yield data.subarray(at, at + size)
  }
}

export function mediaContract({ create, list }: MediaContractOptions): void {
  describe('a media storage', () => {
    let storage: MediaStorage
    beforeEach(async () => {
      storage = await create()
    })

    it('gives back what was put, with its size and SHA-256', async () => {
      const data = randomBytes(1_000_003)
      expect(await storage.put(KEY, Readable.from(pieces(data)))).toEqual({
        key: KEY,
        size: data.length,
        sha256: sha256(data),
      })
      expect(sha256(await buffer(await storage.open(KEY)))).toEqual(sha256(data))
      expect(await storage.exists(KEY)).toBe(true)
      expect(await list()).toHaveLength(1)
    })

    it('takes what is empty', async () => {
      expect(await storage.put(KEY, Readable.from([]))).toEqual({ key: KEY, size: 0, sha256: sha256(Buffer.of()) })
      expect(await buffer(await storage.open(KEY))).toHaveLength(0)
    })

    it.each([
      [{ start: 0, end: 0 }],
      [{ start: 10, end: 99 }],
      [{ start: 65_530, end: 65_540 }],
      [{ start: 99_999, end: 99_999 }],
    ])('gives a range: %o', async (range) => {
      const data = randomBytes(100_000)
      await storage.put(KEY, Readable.from(pieces(data)))
      expect(await buffer(await storage.open(KEY, range))).toEqual(data.subarray(range.start, range.end + 1))
    })

    it('replaces what was under the key; who reads meanwhile reads the old to its end', async () => {
      const old = randomBytes(500_000)
      await storage.put(KEY, Readable.from(pieces(old)))
      const reading = await storage.open(KEY)
      await storage.put(KEY, Readable.from([Buffer.from('new')]))
      expect(sha256(await buffer(reading))).toEqual(sha256(old))
      expect(await buffer(await storage.open(KEY))).toEqual(Buffer.from('new'))
      expect(await list()).toHaveLength(1)
    })

    it('is missing until it is whole', async () => {
      async function* watched(): AsyncGenerator<Buffer> {
        yield randomBytes(10_000)
        expect(await storage.exists(KEY)).toBe(false)
        await expect(storage.open(KEY)).rejects.toMatchObject({ code: 'missing' })
        yield randomBytes(10_000)
      }
      await storage.put(KEY, watched())
      expect(await storage.exists(KEY)).toBe(true)
    })

    it('leaves nothing behind of a stream that broke off, and tells its error', async () => {
      async function* broken(): AsyncGenerator<Buffer> {
        yield randomBytes(100_000)
        throw new Error('the caller went away')
      }
      await expect(storage.put(KEY, broken())).rejects.toThrow('the caller went away')
      expect(await storage.exists(KEY)).toBe(false)
      expect(await list()).toEqual([])
    })

    it('keeps what was there when its replacement broke off', async () => {
      async function* broken(): AsyncGenerator<Buffer> {
        yield Buffer.from('half')
        throw new Error('broke')
      }
      await storage.put(KEY, Readable.from([Buffer.from('whole')]))
      await expect(storage.put(KEY, broken())).rejects.toThrow('broke')
      expect(await buffer(await storage.open(KEY))).toEqual(Buffer.from('whole'))
    })

    it('removes, again and again', async () => {
      await storage.put(KEY, Readable.from([Buffer.from('x')]))
      await storage.remove(KEY)
      await storage.remove(KEY)
      expect(await storage.exists(KEY)).toBe(false)
      await expect(storage.open(KEY)).rejects.toMatchObject({ code: 'missing' })
      expect(await list()).toEqual([])
    })

    it.each(['../secret', '/etc/passwd', 'a/../b', 'a//b', '', 'a/.hidden', 'a\0b', 'a/b/'])(
      'refuses the key %j, which leads elsewhere',
      async (key) => {
        await expect(storage.put(key, Readable.from([Buffer.from('x')]))).rejects.toThrow(TypeError)
        await expect(storage.open(key)).rejects.toThrow(TypeError)
        expect(await list()).toEqual([])
      },
    )
  })
}
