/**
 * The preview of the first link of a text: title, description and picture of the page, as its `og:` tags or its title give
 * them. Page and picture are fetched through the egress client, so that no link leads inward, and never worth more than a
 * moment: without an answer the text goes without a preview, or without its picture.
 */

import type { Download, Egress } from '../../platform/egress/http-client.js'
import { makeThumbnail } from '../../platform/media/inspect.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import type { LinkPreview } from '../../platform/whatsapp/whatsapp.js'

export interface LinkPreviews {
  /** Undefined when the content asks for none, or none is to be had. Never rejects. */
  find(content: OutboundContent, signal: AbortSignal): Promise<LinkPreview | undefined>
}

const WAIT_MS = 3_000
/** Titles stand in the head of a page. */
const MAX_HTML_BYTES = 256 * 1024
/** Of the original, which is shown as a small one. */
const MAX_PICTURE_BYTES = 3 * 1024 * 1024
/** What WhatsApp's own clients make. */
const THUMBNAIL_EDGE = 192
/** It travels in every message; what is larger than a small JPEG can be is none. */
const MAX_THUMBNAIL_BYTES = 32 * 1024
const MAX_TITLE_LENGTH = 200
const MAX_DESCRIPTION_LENGTH = 400
const MAX_REMEMBERED = 500
const REMEMBER_MS = 10 * 60_000

export function createLinkPreviews({
  egress,
  clock,
}: {
  readonly egress: Pick<Egress, 'download'>
  readonly clock: { mono(): number }
}): LinkPreviews {
  /** A campaign sends one link to many. */
  const known = new Map<string, { readonly preview: Promise<LinkPreview | undefined>; readonly until: number }>()

  return {
    async find(content, signal) {
      if (content.type !== 'text' || !content.text.previewUrl) return undefined
      const url = firstLink(content.text.body)
      if (!url) return undefined
      const remembered = known.get(url)
      if (remembered && remembered.until > clock.mono()) return remembered.preview
      const preview = read(url, signal).catch(() => undefined)
      known.set(url, { preview, until: clock.mono() + REMEMBER_MS })
      for (const oldest of known.keys()) if (known.size > MAX_REMEMBERED) known.delete(oldest)
      return preview
    },
  }

  async function read(url: string, signal: AbortSignal): Promise<LinkPreview | undefined> {
    const page = await get(url, 'text/html', signal)
    if (!page) return undefined
    const found = readPreview(url, (await start(page.content, MAX_HTML_BYTES)).toString('utf8'))
    if (!found) return undefined
    const { picture, ...preview } = found
    const thumbnail = picture && (await readPicture(picture, signal).catch(() => undefined))
    return { ...preview, ...(thumbnail ? { thumbnail } : {}) }
  }

  async function readPicture(url: string, signal: AbortSignal): Promise<Buffer | undefined> {
    const answer = await get(url, 'image/', signal)
    if (!answer) return undefined
    const bytes = await start(answer.content, MAX_PICTURE_BYTES + 1)
    const thumbnail = bytes.length <= MAX_PICTURE_BYTES ? await makeThumbnail(bytes, THUMBNAIL_EDGE) : undefined
    return thumbnail && thumbnail.length <= MAX_THUMBNAIL_BYTES ? thumbnail : undefined
  }

  /** Undefined when it is not there, or is something else. Each has a moment of its own. */
  async function get(url: string, kind: 'text/html' | 'image/', signal: AbortSignal): Promise<Download | undefined> {
    const answer = await egress.download(url, {
      headers: { accept: kind === 'image/' ? 'image/*' : kind, 'user-agent': 'WhatsApp/2 (link preview)' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]),
    })
    if (answer.status === 200 && answer.headers['content-type']?.startsWith(kind)) return answer
    answer.discard()
    return undefined
  }
}

/** The first `http` or `https` URL of a text, without the punctuation that ends a sentence. */
export function firstLink(text: string): string | undefined {
  const found = /https?:\/\/[^\s<>"']+/i.exec(text)?.[0].replace(/[.,;:!?)\]}]+$/, '')
  return found && URL.canParse(found) ? found : undefined
}

/** What a page says of itself. */
export interface PageSummary {
  readonly url: string
  readonly title: string
  readonly description?: string
  /** Where its picture is. */
  readonly picture?: string
}

/** Pure. Undefined for a page without a title. */
export function readPreview(url: string, html: string): PageSummary | undefined {
  const title = meta(html, 'og:title') ?? /<title[^>]*>([^<]*)<\/title>/i.exec(html)?.[1]
  const description = meta(html, 'og:description') ?? meta(html, 'description')
  const shownTitle = shorten(title, MAX_TITLE_LENGTH)
  if (!shownTitle) return undefined
  const shownDescription = shorten(description, MAX_DESCRIPTION_LENGTH)
  const picture = pictureOf(url, html)
  return {
    ...{ url, title: shownTitle },
    ...(shownDescription ? { description: shownDescription } : {}),
    ...(picture ? { picture } : {}),
  }
}

/** It may be named from where the page is. */
function pictureOf(url: string, html: string): string | undefined {
  const named = plainText(meta(html, 'og:image') ?? meta(html, 'og:image:url') ?? meta(html, 'twitter:image'))
  const found = named && URL.canParse(named, url) ? new URL(named, url) : undefined
  return found && /^https?:$/.test(found.protocol) ? found.href : undefined
}

function meta(html: string, name: string): string | undefined {
  for (const [tag] of html.matchAll(/<meta\s[^>]*>/gi)) {
    if (attribute(tag, 'property') === name || attribute(tag, 'name') === name) return attribute(tag, 'content')
  }
  return undefined
}

function attribute(tag: string, name: string): string | undefined {
  const [, double, single] = new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`, 'i').exec(tag) ?? []
  return double ?? single
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' }

function shorten(text: string | undefined, max: number): string {
  const plain = plainText(text)
  return plain.length > max ? `${plain.slice(0, max - 1).toWellFormed()}…` : plain
}

/** What HTML writes of it, in one line. */
function plainText(text: string | undefined): string {
  return (text ?? '')
    .replaceAll(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (whole, decimal, hex, name: string | undefined) => {
      if (name) return ENTITIES[name.toLowerCase()] ?? whole
      const code = decimal ? Number(decimal) : Number.parseInt(String(hex), 16)
      return code > 0 && code <= 0x10_ff_ff ? String.fromCodePoint(code) : ''
    })
    .replaceAll(/\s+/g, ' ')
    .trim()
    .toWellFormed()
}

/** No more than this, or a little. */
async function start(content: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of content) {
    pieces.push(piece)
    size += piece.length
    if (size >= maxBytes) break
  }
  return Buffer.concat(pieces)
}
