/**
 * Privacy tokens: what a person's phone gives to those it writes to. Shown with a message, one lets even a restricted number
 * write to that person. Baileys stores them among the keys (so they are journaled), shows them, and gives ours.
 */
import { parseJid, type WhatsAppAddress } from '../jid.js'

export const TOKEN_KIND = 'tctoken'

const WEEK_S = 7 * 24 * 3_600
/** The present week and three before it: Baileys' own rule, and WhatsApp Web's. */
const WEEKS_GOOD = 4

/** Whose token a stored value is, if it is one: beside tokens, Baileys notes there when it gave ours, and an index. */
export function giverOf(key: string, value: unknown): WhatsAppAddress | undefined {
  return hasToken(value) ? parseJid(key) : undefined
}

/** Whether a stored value is a token that WhatsApp still takes. */
export function isGoodToken(value: unknown, nowMs: number): boolean {
  if (!hasToken(value)) return false
  const givenAt = Number(value.timestamp ?? Number.NaN)
  return weekOf(nowMs / 1_000) - weekOf(givenAt) < WEEKS_GOOD
}

function hasToken(value: unknown): value is { readonly token: Uint8Array; readonly timestamp?: string | number } {
  const { token } = (value ?? {}) as { readonly token?: unknown }
  return token instanceof Uint8Array && token.length > 0
}

const weekOf = (seconds: number): number => Math.floor(seconds / WEEK_S)
