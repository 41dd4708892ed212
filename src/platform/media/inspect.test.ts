import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { inspectMedia, makeThumbnail } from './inspect.js'
import { readFilm } from './mp4.js'
import { drawWaveform, readVoiceNote } from './ogg-opus.js'
import { film, jpeg, mp4, png, voiceNote, wav, webp } from './testing/samples.js'

const inspect = (data: Buffer, mimeType: string) =>
  inspectMedia({ mimeType, size: data.length, open: async () => Readable.from(pieces(data), { objectMode: false }) })

function* pieces(data: Buffer, size = 1_000): Generator<Buffer> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size)
}

describe('a picture', () => {
  it('has its width and height, and a small JPEG of the same shape', async () => {
    const { thumbnail, ...found } = await inspect(await jpeg(640, 400), 'image/jpeg')
    expect(found).toEqual({ width: 640, height: 400 })
    expect(await sharp(thumbnail).metadata()).toMatchObject({ format: 'jpeg', width: 72, height: 45 })
    expect(thumbnail?.length).toBeLessThan(4_000)
  })

  it('that lies on its side is told as it is shown', async () => {
    const { thumbnail, ...found } = await inspect(await jpeg(640, 400, 6), 'image/jpeg')
    expect(found).toEqual({ width: 400, height: 640 })
    expect(await sharp(thumbnail).metadata()).toMatchObject({ width: 45, height: 72 })
  })

  it('that is cut off, or none, is left without', async () => {
    const whole = await png(2_000, 2_000)
    expect((await inspect(whole.subarray(0, 20), 'image/png')).thumbnail).toBeUndefined()
    expect(await inspect(randomBytes(5_000), 'image/png')).toEqual({})
    expect(await inspect(Buffer.of(), 'image/png')).toEqual({})
  })

  it('that would fill the memory is left without', async () => {
    const bomb = await png(10, 10)
    bomb.writeUInt32BE(60_000, 16)
    bomb.writeUInt32BE(60_000, 20)
    bomb.writeUInt32BE(crc32(bomb.subarray(12, 29)), 29)
    expect(await sharp(bomb, { limitInputPixels: false }).metadata()).toMatchObject({ width: 60_000 })
    expect((await inspect(bomb, 'image/png')).thumbnail).toBeUndefined()
  })
})

describe('a voice note', () => {
  const loudInTheMiddle = Array.from({ length: 500 }, (_, at) => (at > 200 && at < 300 ? 200 : 20))

  it('has its seconds and its curve', async () => {
    const { seconds, waveform } = await inspect(voiceNote(loudInTheMiddle), 'audio/ogg; codecs=opus')
    expect(seconds).toBe(10)
    expect(waveform).toHaveLength(64)
    expect([waveform?.[0], waveform?.[32], waveform?.[63]]).toEqual([0, 100, 0])
  })

  it('is read the same in pieces of any size', async () => {
    const data = voiceNote([300, 20, 255, 510, 1, 0, 254])
    const whole = await readVoiceNote(Readable.from([data]))
    for (const size of [1, 7, 28, 4_096]) expect(await readVoiceNote(Readable.from(pieces(data, size)))).toEqual(whole)
    expect(whole?.seconds).toBeCloseTo(0.14, 5)
  })

  it('of a constant bit rate has no curve, since its sizes tell nothing', () => {
    expect(drawWaveform(Array.from({ length: 500 }, () => 80))).toBeUndefined()
  })

  it('shorter than the curve has bars is drawn all the same', () => {
    expect(drawWaveform([10, 100])).toHaveLength(64)
    expect(drawWaveform([10, 100])?.at(-1)).toBe(100)
  })

  it('that is damaged, cut off or something else ends in nothing', async () => {
    const data = voiceNote(loudInTheMiddle)
    expect((await readVoiceNote(Readable.from([data.subarray(0, 5_000)])))?.seconds).toBeGreaterThan(0)
    expect(await readVoiceNote(Readable.from([data.subarray(0, 30)]))).toBeUndefined()
    expect(await readVoiceNote(Readable.from([randomBytes(10_000)]))).toBeUndefined()
    expect(await readVoiceNote(Readable.from([]))).toBeUndefined()
  })
})

describe('a film', () => {
  const size = { width: 1_280, height: 720 }

  it.each([
    ['with its index before the film', {}, { ...size, seconds: 12 }],
    ['with its index behind the film', { indexAtEnd: true }, { ...size, seconds: 12 }],
    ['with long times', { long: true, seconds: 5_000 }, { ...size, seconds: 5_000 }],
    ['recorded upright', { width: 720, height: 1_280, turned: true }, { width: 720, height: 1_280, seconds: 12 }],
    ['of less than a second', { seconds: 0.2 }, { ...size, seconds: 1 }],
  ])('%s has its seconds, width and height', async (_name, shape, found) => {
    expect(await inspect(film(shape), 'video/mp4')).toEqual(found)
    expect(await inspect(film(shape), 'video/quicktime')).toEqual(found)
  })

  it('is read the same in pieces of any size', async () => {
    const data = film({ indexAtEnd: true })
    const whole = await readFilm(Readable.from([data]))
    for (const length of [1, 7, 333]) expect(await readFilm(Readable.from(pieces(data, length)))).toEqual(whole)
    expect(whole?.seconds).toBeCloseTo(12.4, 5)
  })

  it('that is cut off or damaged anywhere is left without, or tells what is left', async () => {
    const data = film()
    for (let end = 0; end < 400; end += 7) await inspect(data.subarray(0, end), 'video/mp4')
    for (let at = 24; at < 400; at += 3) {
      const damaged = Buffer.from(data)
      damaged.writeUInt32BE(0xffffffff, at)
      expect((await inspect(damaged, 'video/mp4')).seconds ?? 0).toBeLessThan(1_000_000)
    }
  })
})

describe('a thumbnail of any picture', () => {
  it('is a JPEG of no more than so many pixels', async () => {
    for (const picture of [await jpeg(800, 400), await png(800, 400)]) {
      const small = await makeThumbnail(picture, 192)
      expect(await sharp(small).metadata()).toMatchObject({ format: 'jpeg', width: 192, height: 96 })
    }
    expect(await sharp(await makeThumbnail(await webp(), 192)).metadata()).toMatchObject({ width: 192, height: 192 })
  })

  it('is none of a drawing, which may name other files, and of what is no picture', async () => {
    const drawing =
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/hostname"/></svg>'
    expect(await makeThumbnail(Buffer.from(drawing), 192)).toBeUndefined()
    expect(await makeThumbnail(randomBytes(2_000), 192)).toBeUndefined()
    expect(await makeThumbnail((await jpeg()).subarray(0, 200), 192)).toBeUndefined()
  })
})

describe('other sounds and films', () => {
  it('have their seconds', async () => {
    expect(await inspect(wav(3), 'audio/wav')).toEqual({ seconds: 3 })
  })

  it('that cannot be read are left without', async () => {
    expect(await inspect(mp4(), 'video/mp4')).toEqual({})
    // Random bytes now and then begin a frame.
    expect(await inspect(Buffer.alloc(10_000, 'A'), 'audio/mpeg')).toEqual({})
  })

  it('documents are not looked into', async () => {
    expect(await inspect(await png(), 'application/pdf')).toEqual({})
  })
})

it('a file that cannot be opened is told, since that is no fault of the file', async () => {
  const open = () => Promise.reject(new Error('the disk is gone'))
  await expect(inspectMedia({ mimeType: 'image/png', size: 1, open })).rejects.toThrow('the disk is gone')
})
