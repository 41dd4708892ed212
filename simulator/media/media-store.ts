import { createHash } from 'node:crypto'

/** What the owner's phone answers to a companion that cannot download a file. */
export const MEDIA_RETRIES = ['success', 'not-found', 'silent'] as const

export type MediaBehaviour = {
  retry: (typeof MEDIA_RETRIES)[number]
  /** Every upload is answered so; null when they succeed. */
  uploadStatus: number | null
}

export type Download = { readonly bytes: Buffer } | { readonly status: number }

/** The files on the media host, encrypted as they were uploaded. */
export type MediaStore = {
  readonly behaviour: MediaBehaviour
  /** Keeps a file and tells where it lies. The same bytes lie in one place. */
  upload(kind: string, bytes: Buffer): string
  /** By direct path; its query does not matter. */
  download(directPath: string): Download
  /** The key a message's file is sealed with, for when the client asks for the file again. */
  remember(messageId: string, mediaKey: Uint8Array, directPath: string): void
  remembered(messageId: string): { mediaKey: Uint8Array; directPath: string } | undefined
  /** From now on the path is answered with this status; without path, every path there is. */
  expire(status: number, directPath?: string): number
  /** The phone uploads a file again: the same bytes, alive, under a new path. */
  reupload(directPath: string): string | null
  view(): MediaBehaviour & { files: { directPath: string; bytes: number; status: number }[] }
  clear(): void
}

type Stored = { readonly bytes: Buffer; status: number | null }

export function createMediaStore(): MediaStore {
  const files = new Map<string, Stored>()
  const sealedBy = new Map<string, { mediaKey: Uint8Array; directPath: string }>()
  const behaviour: MediaBehaviour = { retry: 'success', uploadStatus: null }
  let uploads = 0

  return {
    behaviour,
    upload(kind, bytes) {
      const path = `/v/${kind}/${createHash('sha256').update(bytes).digest('base64url')}.enc`
      const known = files.get(path)
      if (known) known.status = null
      else files.set(path, { bytes, status: null })
      return withQuery(path)
    },
    download(directPath) {
      const stored = files.get(withoutQuery(directPath))
      if (!stored) return { status: 404 }
      return stored.status === null ? { bytes: stored.bytes } : { status: stored.status }
    },
    remember: (messageId, mediaKey, directPath) => void sealedBy.set(messageId, { mediaKey, directPath }),
    remembered: (messageId) => sealedBy.get(messageId),
    expire(status, directPath) {
      const wanted = directPath === undefined ? undefined : withoutQuery(directPath)
      const expired = [...files].filter(([path]) => wanted === undefined || path === wanted)
      for (const [, stored] of expired) stored.status = status
      return expired.length
    },
    reupload(directPath) {
      const stored = files.get(withoutQuery(directPath))
      if (!stored) return null
      const path = withoutQuery(directPath).replace(/(-\d+)?\.enc$/, `-${++uploads}.enc`)
      files.set(path, { bytes: stored.bytes, status: null })
      return withQuery(path)
    },
    view: () => ({
      ...behaviour,
      files: [...files].map(([directPath, { bytes, status }]) => ({
        directPath,
        bytes: bytes.length,
        status: status ?? 200,
      })),
    }),
    clear() {
      Object.assign(behaviour, { retry: 'success', uploadStatus: null })
      files.clear()
      sealedBy.clear()
    },
  }
}

function withQuery(path: string): string {
  return `${path}?ccb=11-4&oh=sim&oe=7FFFFFFF`
}

function withoutQuery(directPath: string): string {
  return directPath.replace(/\?.*$/, '')
}
