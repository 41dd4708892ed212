/**
 * Text that PostgreSQL can store. Its `text` and `jsonb` know no NUL character, and JSON no lone surrogates; WhatsApp carries
 * both, since nobody on the way can read what is encrypted.
 */
export const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed()

/** The same text with U+FFFD, the replacement character, where it could not be stored. */
export const storable = (text: string): string => text.toWellFormed().replaceAll('\0', '\uFFFD')

/** JSON of a value with every string in it made storable. */
export const storableJson = (value: unknown): string =>
  JSON.stringify(value, (_name, member: unknown) => (typeof member === 'string' ? storable(member) : member))

/** Whether every string in a JSON value, names included, can be stored. */
export function isStorableJson(value: unknown): boolean {
  if (typeof value === 'string') return isStorable(value)
  if (Array.isArray(value)) return value.every(isStorableJson)
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([name, member]) => isStorable(name) && isStorableJson(member))
}
