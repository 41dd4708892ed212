import type { Seeded } from './seeded.js'
import type { Person } from './world.js'

/** What lets its holder write to the person who gave it, even while the holder is restricted. */
export type PrivacyToken = {
  readonly bytes: Buffer
  /** Seconds since the epoch, as the client that gave it says. */
  readonly at: number
}

const WEEK = 7 * 24 * 3_600
/** The present week and three before it. */
const WEEKS_GOOD = 4
const TOKEN_BYTES = 16

/** The one that the giver gives the holder at this time; an earlier one of them is void. */
export function mintToken(seeded: Seeded, giver: Person, holder: Person, at: number): PrivacyToken {
  const token = { bytes: seeded.bytes(`token/${giver.phone}/${holder.phone}/${at}`, TOKEN_BYTES), at }
  holder.tokensFrom.set(giver.phone, token)
  return token
}

/** Phones give a new one with the first message of a week. */
export function isTokenDue(giver: Person, holder: Person, seconds: number): boolean {
  const known = holder.tokensFrom.get(giver.phone)
  return !known || weekOf(known.at) < weekOf(seconds)
}

/** Whether these bytes are what the giver gave the holder, and not too long ago. */
export function isGoodToken(bytes: Buffer, giver: Person, holder: Person, seconds: number): boolean {
  const token = holder.tokensFrom.get(giver.phone)
  return token?.bytes.equals(bytes) === true && weekOf(seconds) - weekOf(token.at) < WEEKS_GOOD
}

const weekOf = (seconds: number): number => Math.floor(seconds / WEEK)
