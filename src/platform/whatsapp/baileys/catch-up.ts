/**
 * What waited at WhatsApp while a number was away: how much of it the server announced, and how much has come. Between the
 * two marks that the server sets (`offline_preview` before, `offline` behind) come the stanzas themselves; Baileys works
 * them off one by one, so the end is when the mark is there and none is under way.
 */
import type { BinaryNode } from 'baileys'
import type { ConnectionEvent } from '../whatsapp.js'

export interface CatchUpOptions {
  /** Whether none of what waited is under way any more. */
  readonly isIdle: () => boolean
  /** Messages that could not be decrypted so far, and were asked for again. */
  readonly unreadableCount: () => number
  /** Tells it behind every message that it speaks of. */
  readonly tell: (event: ConnectionEvent) => void
}

export interface CatchUp {
  /** To be called with each stanza as it comes, before anybody changes it. */
  arrived(stanza: BinaryNode): void
  /** Something that waited has been worked off. */
  progressed(): void
}

export function createCatchUp({ isIdle, unreadableCount, tell }: CatchUpOptions): CatchUp {
  let announced: number | undefined
  let receivedCount = 0
  let hasEnded = false

  return {
    arrived({ tag, attrs, content }) {
      if (tag === 'message' && attrs.offline !== undefined) receivedCount += 1
      if (tag !== 'ib' || !Array.isArray(content)) return
      const preview = content.find((child) => child.tag === 'offline_preview')
      if (preview) {
        announced = Number(preview.attrs.message ?? 0)
        receivedCount = 0
        hasEnded = false
      }
      if (content.some((child) => child.tag === 'offline')) hasEnded = true
      finish()
    },
    progressed: finish,
  }

  function finish(): void {
    if (announced === undefined || !hasEnded || !isIdle()) return
    tell({ type: 'caught-up', announced, received: receivedCount, unreadable: unreadableCount() })
    announced = undefined
  }
}
