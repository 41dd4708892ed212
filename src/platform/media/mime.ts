/**
 * What a file is, by its first bytes and not by what somebody said of it. A browser, a phone or a player will believe the
 * name that we pass on, so a lie is refused where it would deceive (an "image" that is none), and corrected where it is a
 * mere slip (a PNG called JPEG).
 */

/** So many first bytes decide. */
export const HEAD_BYTES = 4_100

export type MimeFamily = 'image' | 'video' | 'audio' | 'other'

export type Judgement = { readonly mimeType: string } | { readonly lie: string }

const UNKNOWN = 'application/octet-stream'

/** The MIME type of a file that begins so, or in what the statement about it lies. */
export async function judgeMime(head: Uint8Array, stated: string | undefined): Promise<Judgement> {
  const { fileTypeFromBuffer } = await import('file-type')
  // A parser that meets its match in a crafted file has not recognised it.
  const found = await fileTypeFromBuffer(head).catch(() => undefined)
  return judge(found && named(found.mime), plain(stated))
}

/** Pure: by what the bytes are (undefined: nothing that has a signature), and what was said of them. */
export function judge(found: string | undefined, stated: string | undefined): Judgement {
  const said = stated === undefined || VAGUE.has(stated) ? undefined : stated
  if (found === undefined) {
    if (said === undefined) return { mimeType: UNKNOWN }
    if (familyOf(said) === 'other' && !SIGNED.has(said)) return { mimeType: said }
    return { lie: `It was said to be ${said}, but does not begin like one.` }
  }
  // A part of a form that says nothing is text by the letter of its standard.
  if (said === undefined || said === 'text/plain' || said === base(found)) return { mimeType: found }
  if (isContainerOf(found, said)) return { mimeType: said }
  if (familyOf(said) === familyOf(found)) return { mimeType: found }
  return { lie: `It was said to be ${said}, but is ${base(found)}.` }
}

/** The part of a MIME type before its parameters, in lower case. */
export const base = (mimeType: string): string => (mimeType.split(';')[0] ?? '').trim().toLowerCase()

export function familyOf(mimeType: string): MimeFamily {
  const family = mimeType.split('/')[0]
  return family === 'image' || family === 'video' || family === 'audio' ? family : 'other'
}

/** What says nothing. */
const VAGUE: ReadonlySet<string> = new Set([UNKNOWN, 'binary/octet-stream', 'application/x-download', '*/*'])

/** Formats beside pictures, films and sounds that always begin with their signature. */
const SIGNED: ReadonlySet<string> = new Set([
  ...['application/pdf', 'application/zip', 'application/gzip', 'application/x-7z-compressed', 'application/epub+zip'],
  ...['application/msword', 'application/vnd.ms-excel', 'application/vnd.ms-powerpoint'],
])

/** The same format under the names that are in use. */
const SYNONYMS: Readonly<Record<string, string>> = {
  'image/jpg': 'image/jpeg',
  'image/pjpeg': 'image/jpeg',
  'audio/mp3': 'audio/mpeg',
  'audio/x-mp3': 'audio/mpeg',
  'audio/x-m4a': 'audio/mp4',
  'audio/m4a': 'audio/mp4',
  'audio/x-wav': 'audio/wav',
  'audio/wave': 'audio/wav',
  'audio/vnd.wave': 'audio/wav',
  'audio/opus': 'audio/ogg',
  'audio/x-aac': 'audio/aac',
  'video/x-m4v': 'video/mp4',
  'video/3gp': 'video/3gpp',
  'application/x-pdf': 'application/pdf',
  'application/x-zip-compressed': 'application/zip',
}

/** A statement that can be understood, without its parameters; anything else counts as none. */
function plain(stated: string | undefined): string | undefined {
  const name = base(stated ?? '')
  if (!/^[a-z0-9][\w!#$&^.+-]{0,63}\/[a-z0-9][\w!#$&^.+-]{0,126}$/.test(name)) return undefined
  return SYNONYMS[name] ?? name
}

/** As WhatsApp names it. Opus in Ogg keeps its codec: without it a voice note does not play. */
function named(found: string): string {
  if (/^audio\/(ogg|opus)\b/.test(found)) return /opus/.test(found) ? 'audio/ogg; codecs=opus' : 'audio/ogg'
  return SYNONYMS[base(found)] ?? base(found)
}

/** Whether a file with the first signature may well be what it is said to be: a container does not tell what is in it. */
function isContainerOf(found: string, said: string): boolean {
  const signature = base(found)
  if (familyOf(said) === 'video' || familyOf(said) === 'audio') {
    return FILM_OR_SOUND.some((names) => names.includes(signature) && names.includes(said))
  }
  if (signature === 'application/zip')
    return /openxmlformats|opendocument|\+zip$|java-archive|android\.package/.test(said)
  if (signature === 'application/x-cfb') return /^application\/(msword|vnd\.ms-|vnd\.visio|x-msi)/.test(said)
  if (signature === 'application/xml')
    return /[/+]xml$|^text\/html$|^image\/svg\+xml$/.test(said) && familyOf(said) === 'other'
  return false
}

const FILM_OR_SOUND: readonly (readonly string[])[] = [
  ['video/mp4', 'audio/mp4', 'video/quicktime', 'video/3gpp', 'audio/3gpp'],
  ['video/webm', 'audio/webm', 'video/matroska', 'audio/matroska'],
  ['video/ogg', 'audio/ogg', 'application/ogg'],
  ['audio/mpeg', 'audio/aac'],
]
