/** What a route module of a feature needs to know of the HTTP server: how a request is authorised, typed and paged. */
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { ApiKeyId, IdOf, IdPrefix, TenantId } from '../../kernel/ids.js'
import { parseId } from '../../kernel/ids.js'

/** What a key may do. `admin` includes all others. */
export const scopes = ['read', 'send', 'control', 'settings', 'delete', 'admin'] as const
export type Scope = (typeof scopes)[number]

/** Who is asking: made by auth.ts from the API key, for every route that is not public. */
export interface Auth {
  readonly tenantId: TenantId
  readonly keyId: ApiKeyId
  readonly scopes: ReadonlySet<Scope>
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The scope that a key needs; every route names one, or says that it is public. The server refuses to start otherwise. */
    scope?: Scope | 'public'
    /**
     * How `Idempotency-Key` is honoured on a mutating route: 'stored' (default: the answer is kept and replayed), or 'own'
     * where the route does it in the statement that does the work.
     */
    idempotency?: 'stored' | 'own'
    /** Its body may take as long as it comes on: the route itself watches that it does. Any other has 30 seconds. */
    slowBody?: true
    /** For the OpenAPI document, where the schema cannot say it: the body is a form with a file, the answer a file. */
    upload?: true
    download?: true
  }
  interface FastifyRequest {
    /** Throws `unauthenticated` on a public route. */
    readonly auth: Auth
    /** Correlation id of this request; in every error answer and log line. */
    readonly traceId: string
  }
}

/** Fastify with zod as its schema language. Route modules are functions `(app: App, deps) => void`. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>

/** A public id of this kind in a path, query or body; parsed to the internal id. Another kind is a 400 naming the field. */
export function idParam<Prefix extends IdPrefix>(prefix: Prefix) {
  return z
    .string()
    .transform((text, context): IdOf<Prefix> => {
      const id = parseId(prefix, text)
      if (id) return id
      context.addIssue({ code: 'custom', message: `expected an id that begins with ${prefix}_` })
      return z.NEVER
    })
    .meta({ description: `An id such as ${prefix}_01J8Z3V9K7QW5XN2M4T6R8Y0BC` })
}

export const MAX_PAGE = 200

/** `?limit=&cursor=` of every list. The cursor is opaque to callers. */
export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(50),
  cursor: z.string().max(100).optional(),
})

/** The shape of every list. */
export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({ data: z.array(item), nextCursor: z.string().nullable() })
