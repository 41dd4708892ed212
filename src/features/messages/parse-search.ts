import type { Search } from './search-store.js'

/** Reads what a person looks for: `word` as a whole, `"some phrase"`, `-not`, `this or that`, `begin*`. Pure. */
export function parseSearch(text: string): Search {
  const beginnings: string[] = []
  const words = text
    .split(/("[^"]*"?)/)
    .map((part) => (part.startsWith('"') ? part : part.replace(/(?<=^|\s)([\p{L}\p{N}]+)\*(?=\s|$)/gu, take)))
    .join('')
    .trim()
  return { words: /[\p{L}\p{N}]/u.test(words) ? words : '', beginnings }

  function take(_match: string, beginning: string): string {
    beginnings.push(beginning)
    return ''
  }
}
