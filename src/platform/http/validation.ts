/** zod as Fastify's schema language. On the way in, what does not fit becomes `invalid_request`, each field named by its JSON pointer. */
import type { FastifySchemaCompiler, FastifySerializerCompiler } from 'fastify'
import { z } from 'zod'
import { AppError, type FieldError } from '../../kernel/errors.js'

/** RFC 6901. The whole document is the empty pointer. */
export const jsonPointer = (path: readonly PropertyKey[]): string =>
  path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')

const places: Readonly<Record<string, string>> = {
  querystring: 'in the query',
  params: 'in the path',
  headers: 'in the headers',
}

export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const place = places[httpPart ?? 'body']
  return (data) => {
    // "No body" reads better than "expected object, received null", whatever the parser left.
    const result = schema.safeParse(data ?? undefined)
    if (result.success) return { value: result.data }
    return { error: new AppError('invalid_request', { errors: fieldErrors(result.error.issues, place) }) }
  }
}

/** Only what the schema names goes out. An answer that does not fit its schema is our fault, and becomes `internal`. */
export const serializerCompiler: FastifySerializerCompiler<z.ZodType> = ({ schema, method, url }) => {
  return (data) => {
    const result = z.safeEncode(schema, data)
    if (result.success) return JSON.stringify(result.data)
    throw new Error(`the answer of ${method} ${url} does not fit its schema`, { cause: result.error })
  }
}

function fieldErrors(issues: readonly z.core.$ZodIssue[], place: string | undefined): FieldError[] {
  return issues.flatMap((issue) => unfold(issue).map((leaf) => toFieldError(leaf, place)))
}

/** Of a union, the branch that came closest: telling of all branches at once helps nobody. */
function unfold(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue]
  const [closest] = [...issue.errors].sort((a, b) => a.length - b.length)
  if (!closest || closest.length === 0) return [issue]
  return closest.flatMap((inner) => unfold({ ...inner, path: [...issue.path, ...inner.path] } as z.core.$ZodIssue))
}

function toFieldError(issue: z.core.$ZodIssue, place: string | undefined): FieldError {
  const path = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : issue.path
  return { pointer: jsonPointer(path), detail: place ? `${issue.message} (${place})` : issue.message }
}
