import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../kernel/clock.js'
import { createEgress } from '../../platform/egress/http-client.js'
import { jpeg } from '../../platform/media/testing/samples.js'
import { createLinkPreviews, firstLink, readPreview } from './link-preview.js'

describe('the first link of a text', () => {
  it.each([
    ['see https://example.com/a?b=c#d.', 'https://example.com/a?b=c#d'],
    ['(http://example.com/x)', 'http://example.com/x'],
    ['https://a.test, https://b.test', 'https://a.test'],
    ['ftp://example.com', undefined],
    ['no link', undefined],
  ])('of %j is %j', (text, link) => {
    expect(firstLink(text)).toBe(link)
  })
})

describe('a page', () => {
  it('shows its og: tags, else its title', () => {
    const og = `<head><title>old</title><meta property="og:title" content="Pão &amp; caf&#233;"><meta content='Fresh' property='og:description'>`
    expect(readPreview('u', og)).toEqual({ url: 'u', title: 'Pão & café', description: 'Fresh' })
    const plain = '<TITLE>\n  Just a\n title </TITLE><meta name="description" content="words">'
    expect(readPreview('u', plain)).toEqual({ url: 'u', title: 'Just a title', description: 'words' })
  })

  it.each([
    ['/a.png', 'https://shop.test/a.png'],
    ['b.png?x=1&amp;y=2', 'https://shop.test/menu/b.png?x=1&y=2'],
    ['//cdn.test/c.png', 'https://cdn.test/c.png'],
    ['data:image/png;base64,AAAA', undefined],
    ['file:///etc/passwd', undefined],
    ['', undefined],
  ])('names its picture %j', (content, picture) => {
    const html = `<title>Menu</title><meta property="og:image" content="${content}">`
    expect(readPreview('https://shop.test/menu/', html)?.picture).toBe(picture)
  })

  it('without a title has no preview, and a long one is cut', () => {
    expect(readPreview('u', '<p>nothing</p>')).toBeUndefined()
    expect(readPreview('u', `<title>${'x'.repeat(500)}</title>`)?.title).toHaveLength(200)
  })
})

describe('previews', () => {
  let asked = 0
  let picture: Buffer
  const server = createServer((request, response) => {
    asked += 1
    const page = (image: string) =>
      response
        .setHeader('content-type', 'text/html')
        .end(`<title>Menu</title><meta property="og:image" content="${image}">`)
    if (request.url === '/shop') page('/picture')
    else if (request.url === '/no-picture') page('/file')
    else if (request.url === '/huge') page('/flood')
    else if (request.url === '/inward') page('http://10.0.0.1/a.jpg')
    else if (request.url === '/picture') response.setHeader('content-type', 'image/jpeg').end(picture)
    else if (request.url === '/flood') response.setHeader('content-type', 'image/jpeg').end(Buffer.alloc(5_000_000))
    else if (request.url === '/page') response.setHeader('content-type', 'text/html').end('<title>Menu</title>')
    else if (request.url === '/file') response.setHeader('content-type', 'application/pdf').end('<title>No</title>')
    else response.writeHead(404).end()
  })
  let base = ''
  const reachable = createEgress({ allow: ['127.0.0.1/32'], clock: systemClock })
  const guarded = createEgress({ allow: [], clock: systemClock })
  beforeAll(async () => {
    picture = await jpeg(1_200, 630)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(async () => {
    await reachable.close()
    await guarded.close()
    server.close()
  })
  const { signal } = new AbortController()
  const text = (body: string, previewUrl = true) => ({ type: 'text', text: { body, previewUrl } }) as const

  it('are fetched where they are asked for, once for many messages', async () => {
    const previews = createLinkPreviews({ egress: reachable, clock: systemClock })
    expect(await previews.find(text(`${base}/page`, false), signal)).toBeUndefined()
    expect(asked).toBe(0)
    expect(await previews.find(text(`look: ${base}/page!`), signal)).toEqual({ url: `${base}/page`, title: 'Menu' })
    expect(await previews.find(text(`again ${base}/page`), signal)).toMatchObject({ title: 'Menu' })
    expect(asked).toBe(1)
  })

  it('have the picture of the page, made small', async () => {
    const previews = createLinkPreviews({ egress: reachable, clock: systemClock })
    const found = await previews.find(text(`${base}/shop`), signal)
    expect(found).toMatchObject({ url: `${base}/shop`, title: 'Menu' })
    expect(await sharp(found?.thumbnail).metadata()).toMatchObject({ format: 'jpeg', width: 192 })
  })

  it.each(['/no-picture', '/huge', '/inward'])('go without a picture that is none: %s', async (path) => {
    const previews = createLinkPreviews({ egress: reachable, clock: systemClock })
    expect(await previews.find(text(base + path), signal)).toEqual({ url: base + path, title: 'Menu' })
  })

  it('are none for what is no page, is not there, or lies inward', async () => {
    const previews = createLinkPreviews({ egress: reachable, clock: systemClock })
    expect(await previews.find(text(`${base}/file`), signal)).toBeUndefined()
    expect(await previews.find(text(`${base}/gone`), signal)).toBeUndefined()
    expect(await previews.find(text('http://127.0.0.1:1/'), signal)).toBeUndefined()
    const before = asked
    const inward = createLinkPreviews({ egress: guarded, clock: systemClock })
    expect(await inward.find(text(`${base}/page`), signal)).toBeUndefined()
    expect(asked).toBe(before)
  })
})
