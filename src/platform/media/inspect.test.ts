import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { inspectMedia } from './inspect.js'
import { drawWaveform, readVoiceNote } from './ogg-opus.js'
import { jpeg, mp4, png, voiceNote, wav } from './testing/samples.js'

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

describe('other sounds and films', () => {
  it('have their seconds', async () => {
    expect(await inspect(wav(3), 'audio/wav')).toEqual({ seconds: 3 })
  })

  it('that cannot be read are left without', async () => {
    expect(await inspect(mp4(), 'video/mp4')).toEqual({})
    expect(await inspect(randomBytes(10_000), 'audio/mpeg')).toEqual({})
  })

  it('documents are not looked into', async () => {
    expect(await inspect(await png(), 'application/pdf')).toEqual({})
  })
})

it('a file that cannot be opened is told, since that is no fault of the file', async () => {
  const open = () => Promise.reject(new Error('the disk is gone'))
  await expect(inspectMedia({ mimeType: 'image/png', size: 1, open })).rejects.toThrow('the disk is gone')
})
