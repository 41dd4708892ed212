/** What was written in a chat, in order, against what arrived. Neither repeats itself; `surplus` counts what came twice or was never written. */
export function compare(written: readonly string[], arrived: readonly string[]) {
  const place = new Map(written.map((text, index) => [text, index]))
  const seen = new Set<string>()
  let [surplus, reordered, furthest] = [0, 0, -1]
  for (const text of arrived) {
    const index = place.get(text)
    if (index === undefined || seen.has(text)) {
      surplus += 1
      continue
    }
    seen.add(text)
    if (index < furthest) reordered += 1
    furthest = Math.max(furthest, index)
  }
  return { lost: written.filter((text) => !seen.has(text)).length, surplus, reordered }
}
