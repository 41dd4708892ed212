import { describe, expect, it } from 'vitest'
import { judge, judgeMime } from './mime.js'
import { jpeg, mp4, pdf, png, program, voiceNote, wav, webp } from './testing/samples.js'

describe('a file is what its first bytes say', () => {
  it.each([
    ['a JPEG', jpeg, 'image/jpeg'],
    ['a PNG', png, 'image/png'],
    ['a sticker', webp, 'image/webp'],
    ['a PDF', pdf, 'application/pdf'],
    ['an MP4', mp4, 'video/mp4'],
    ['a voice note', () => voiceNote([40, 50, 60]), 'audio/ogg; codecs=opus'],
    ['a WAV', () => wav(1), 'audio/wav'],
    ['a program', program, 'application/x-msdownload'],
    ['a text', () => Buffer.from('hello'), 'application/octet-stream'],
    ['nothing', () => Buffer.of(), 'application/octet-stream'],
  ])('%s', async (_name, make, mimeType) => {
    expect(await judgeMime((await make()).subarray(0, 4_100), undefined)).toEqual({ mimeType })
  })
})

describe('what was said of it', () => {
  it.each([
    ['nothing of use', 'image/png', 'application/octet-stream', 'image/png'],
    ['a slip within the family', 'image/png', 'image/jpeg', 'image/png'],
    ['another name of the same', 'image/jpeg', 'image/jpeg', 'image/jpeg'],
    ['the default of a form', 'image/jpeg', 'text/plain', 'image/jpeg'],
    ['sound in a container of films', 'video/mp4', 'audio/mp4', 'audio/mp4'],
    [
      'a document inside a ZIP',
      'application/zip',
      'application/vnd.oasis.opendocument.text',
      'application/vnd.oasis.opendocument.text',
    ],
    ['an old document', 'application/x-cfb', 'application/msword', 'application/msword'],
    ['text without a signature', undefined, 'text/csv', 'text/csv'],
    ['a format that we do not know', undefined, 'application/x-own', 'application/x-own'],
    ['a ZIP called a program of another sort', 'application/zip', 'application/x-own', 'application/zip'],
  ])('is believed or corrected: %s', (_name, found, stated, mimeType) => {
    expect(judge(found, stated)).toEqual({ mimeType })
  })

  it.each([
    ['a program called a picture', 'application/x-msdownload', 'image/png'],
    ['a page called a picture', undefined, 'image/jpeg'],
    ['a PDF called a film', 'application/pdf', 'video/mp4'],
    ['a picture called a sound', 'image/png', 'audio/mpeg'],
    ['a picture called a PDF', 'image/png', 'application/pdf'],
    ['a text called a PDF', undefined, 'application/pdf'],
    ['a drawing with scripts in it called a picture', 'application/xml', 'image/svg+xml'],
  ])('is refused as a lie: %s', (_name, found, stated) => {
    expect(judge(found, stated)).toEqual({ lie: expect.stringContaining(stated) })
  })

  it('is understood whatever its spelling, and ignored when it is no MIME type', async () => {
    const picture = await png()
    expect(await judgeMime(picture, 'IMAGE/PNG; charset=binary')).toEqual({ mimeType: 'image/png' })
    expect(await judgeMime(picture, 'image/png\r\nx-evil: 1')).toEqual({ mimeType: 'image/png' })
    expect(await judgeMime(Buffer.from('x'), '<script>')).toEqual({ mimeType: 'application/octet-stream' })
  })
})
