/**
 * The preview of the first link of a text: title and description of the page, as its `og:` tags or its title give them. Fetched
 * through the egress client, so that no link leads inward, and never worth more than a moment: without an answer the text
 * goes without a preview. (A picture is left out: it would have to be scaled, and no light library does that.)
 */

import type { Egress } from '../../platform/egress/http-client.js'
import type { OutboundContent } from '../../platform/whatsapp/content.js'
import type { LinkPreview } from '../../platform/whatsapp/whatsapp.js'

export interface LinkPreviews {
  /** Undefined when the content asks for none, or none is to be had. Never rejects. */
  find(content: OutboundContent, signal: AbortSignal): Promise<LinkPreview | undefined>
}

const WAIT_MS = 3_000
/** Titles stand in the head of a page. */
const MAX_HTML_BYTES = 256 * 1024
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
    const page = await egress.download(url, {
      headers: { accept: 'text/html', 'user-agent': 'WhatsApp/2 (link preview)' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]),
    })
    if (page.status !== 200 || !page.headers['content-type']?.startsWith('text/html')) {
      page.discard()
      return undefined
    }
    return readPreview(url, await start(page.content))
  }
}

/** The first `http` or `https` URL of a text, without the punctuation that ends a sentence. */
export function firstLink(text: string): string | undefined {
  const found = /https?:\/\/[^\s<>"']+/i.exec(text)?.[0].replace(/[.,;:!?)\]}]+$/, '')
  return found && URL.canParse(found) ? found : undefined
}

/** Pure. Undefined for a page without a title. */
export function readPreview(url: string, html: string): LinkPreview | undefined {
  const title = meta(html, 'og:title') ?? /<title[^>]*>([^<]*)<\/title>/i.exec(html)?.[1]
  const description = meta(html, 'og:description') ?? meta(html, 'description')
  const shownTitle = shorten(title, MAX_TITLE_LENGTH)
  if (!shownTitle) return undefined
  const shownDescription = shorten(description, MAX_DESCRIPTION_LENGTH)
  return { url, title: shownTitle, ...(shownDescription ? { description: shownDescription } : {}) }
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
  const plain = (text ?? '')
    .replaceAll(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (whole, decimal, hex, name: string | undefined) => {
      if (name) return ENTITIES[name.toLowerCase()] ?? whole
      const code = decimal ? Number(decimal) : Number.parseInt(String(hex), 16)
      return code > 0 && code <= 0x10_ff_ff ? String.fromCodePoint(code) : ''
    })
    .replaceAll(/\s+/g, ' ')
    .trim()
    .toWellFormed()
  return plain.length > max ? `${plain.slice(0, max - 1).toWellFormed()}…` : plain
}

async function start(content: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of content) {
    pieces.push(piece)
    size += piece.length
    if (size >= MAX_HTML_BYTES) break
  }
  return Buffer.concat(pieces).toString('utf8')
}
