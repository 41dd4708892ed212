/**
 * Reads JSON bodies within limits that keep a request cheap whatever it holds: depth, length of arrays, and no key that
 * could reach a prototype. The size is the server's limit.
 */
import { AppError, type FieldError } from '../../kernel/errors.js'
import { jsonPointer } from './validation.js'

export const MAX_DEPTH = 20
export const MAX_ARRAY = 1_000

/** An empty body is no body: many clients announce JSON on every POST. Throws `invalid_json` or `invalid_request`. */
export function parseJsonBody(text: string): unknown {
  if (!/\S/.test(text)) return undefined
  const value = parse(text)
  const excess = findExcess(value)
  if (excess) throw new AppError('invalid_request', { errors: [excess] })
  return value
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    // The parser's own words quote the body; the place is all that is needed.
    const position = cause instanceof Error ? /position (\d+)/.exec(cause.message)?.[1] : undefined
    throw new AppError('invalid_json', position ? { detail: `The error is at character ${position}.` } : {})
  }
}

interface Visit {
  readonly value: object
  readonly depth: number
  readonly path: readonly (string | number)[]
}

/** Iterative, because recursion is what too deep a body would exhaust. */
function findExcess(root: unknown): FieldError | undefined {
  if (typeof root !== 'object' || root === null) return undefined
  const open: Visit[] = [{ value: root, depth: 1, path: [] }]
  for (let visit = open.pop(); visit; visit = open.pop()) {
    const { value, depth, path } = visit
    if (depth > MAX_DEPTH) return { pointer: jsonPointer(path), detail: `More than ${MAX_DEPTH} levels deep.` }
    if (Array.isArray(value) && value.length > MAX_ARRAY) {
      return { pointer: jsonPointer(path), detail: `More than ${MAX_ARRAY} items.` }
    }
    for (const key of Object.keys(value)) {
      const child = (value as Readonly<Record<string, unknown>>)[key]
      if (key === '__proto__') return { pointer: jsonPointer([...path, key]), detail: 'This name is not allowed.' }
      if (typeof child === 'object' && child !== null)
        open.push({ value: child, depth: depth + 1, path: [...path, key] })
    }
  }
  return undefined
}
