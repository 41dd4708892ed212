/** Baileys shows the first code of a QR session so long, and each further one. */
const FIRST_MS = 60_000
const NEXT_MS = 20_000

/** How long the next code of one QR session will be shown, in ms. */
export function createQrLife(): () => number {
  let isFirst = true
  return () => {
    const lifeMs = isFirst ? FIRST_MS : NEXT_MS
    isFirst = false
    return lifeMs
  }
}
