/**
 * The OpenAPI 3.1 document, generated from the routes' own schemas, and the pages that show it. Everything is served from
 * this process: the page has no foreign origin in its configuration, and its Content-Security-Policy lets it reach none.
 * All of it is built when first asked for, because the libraries are large and a start should not wait for them.
 */
import type { FastifyReply, FastifyRequest, FastifySchema, RouteOptions } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { errorCatalogue } from '../../kernel/errors.js'
import { errorPage } from './error-page.js'
import type { App } from './route.js'
import { FILE_FIELD } from './upload.js'

/** The `webhooks` of the document, by the type of event. */
export type WebhookOperations = Readonly<Record<string, { readonly post: WebhookOperation }>>

interface TextSchema {
  type: 'string'
  format?: string
  enum?: string[]
}

/** The part of OpenAPI's operation object that a webhook needs. */
interface WebhookOperation {
  tags: string[]
  summary: string
  description: string
  parameters: { in: 'header'; name: string; description: string; required: boolean; schema: TextSchema }[]
  requestBody: {
    required: boolean
    content: Record<
      string,
      {
        schema: { type: 'object'; required: string[]; properties: Record<string, TextSchema | { type: 'object' }> }
        /** One, or several by name. */
        example?: object
        examples?: Record<string, { value: { readonly data: object } }>
      }
    >
  }
  responses: Record<string, { description: string }>
}

export interface OpenApiOptions {
  readonly version: string
  readonly webhooks: WebhookOperations
  /** The routes to document, complete when the first request comes. */
  readonly routes: () => readonly RouteOptions[]
}

const MUTATING: ReadonlySet<unknown> = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

const pageConfig = { scope: 'public' } as const
const hidden = { hide: true }

export function addDocs(app: App, options: OpenApiOptions): void {
  let building: Promise<App> | undefined
  const docs = (): Promise<App> => {
    building ??= buildDocs(options)
    return building
  }

  for (const url of ['/', '/docs']) {
    app.get(url, { config: pageConfig, schema: hidden }, async (_request, reply) => reply.redirect('/docs/', 302))
  }
  app.get('/docs/errors', { config: pageConfig, schema: hidden }, async (_request, reply) =>
    secured(reply, "default-src 'none'; style-src 'unsafe-inline'").type('text/html; charset=utf-8').send(errorPage()),
  )
  for (const url of ['/openapi.json', '/docs/', '/docs/js/scalar.js']) {
    app.get(url, { config: pageConfig, schema: hidden }, async (request, reply) => relay(await docs(), request, reply))
  }
}

/** A server of its own that never listens: it holds the document and the page, and none of our hooks. */
async function buildDocs({ version, webhooks, routes }: OpenApiOptions): Promise<App> {
  const [{ fastify }, swagger, scalar, zodTypes] = await Promise.all([
    import('fastify'),
    import('@fastify/swagger'),
    import('@scalar/fastify-api-reference'),
    import('fastify-type-provider-zod'),
  ])
  const docs = fastify({ logger: false, exposeHeadRoutes: false }).withTypeProvider<ZodTypeProvider>()
  docs.setValidatorCompiler(() => () => true)
  docs.setSerializerCompiler(() => JSON.stringify)
  await docs.register(swagger.default, {
    openapi: { ...openApiBase(version), webhooks },
    transform: (document) => {
      const transformed = zodTypes.jsonSchemaTransform(document)
      return { ...transformed, schema: described(withExamples(transformed.schema, document.schema), document.route) }
    },
    transformObject: zodTypes.jsonSchemaTransformObject,
  })
  for (const { method, url, schema, config } of routes()) {
    if (schema && 'hide' in schema) continue
    docs.route({ method, url, schema: schema ?? {}, config: config ?? {}, handler: async () => null })
  }
  docs.get('/openapi.json', { schema: hidden }, async (_request, reply) => reply.send(docs.swagger()))
  await docs.register(scalar.default, { routePrefix: '/docs', configuration: scalarConfiguration })
  await docs.ready()
  return docs
}

/** Nothing that asks another host: no fonts, no proxy, no telemetry, no registry, no AI. */
const scalarConfiguration = {
  url: '/openapi.json',
  pageTitle: 'Mirante API',
  withDefaultFonts: false,
  telemetry: false,
  proxyUrl: '',
  showDeveloperTools: 'never',
  hideClientButton: true,
  agent: { disabled: true },
  mcp: { disabled: true },
  persistAuth: false,
  documentDownloadType: 'json',
  externalUrls: { dashboardUrl: '', registryUrl: '', proxyUrl: '', apiBaseUrl: '' },
} as const

const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self' 'unsafe-inline'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "worker-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

async function relay(docs: App, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const answer = await docs.inject({ method: 'GET', url: request.url })
  reply.type(String(answer.headers['content-type']))
  if (request.url.endsWith('.js')) reply.header('cache-control', 'public, max-age=3600')
  return secured(reply, PAGE_POLICY).code(answer.statusCode).send(answer.rawPayload)
}

const secured = (reply: FastifyReply, policy: string): FastifyReply =>
  reply.header('content-security-policy', policy).header('referrer-policy', 'no-referrer')

/** What every route has in common and need not say itself: who may call it, its errors, its idempotency. */
function described(schema: FastifySchema, { method, url, config }: RouteOptions): FastifySchema {
  if ('hide' in schema) return schema
  const scope = config?.scope
  const isPublic = scope === undefined || scope === 'public'
  const shared = {
    tags: [tagOf(url)],
    security: isPublic ? [] : [{ bearer: [] }, { apiKeyHeader: [] }],
    ...(!isPublic && MUTATING.has(method) ? { headers: idempotencyHeader } : {}),
  }
  const description = [schema.description, isPublic ? '' : `Needs the scope \`${scope}\`.`].filter(Boolean).join('\n\n')
  const response = {
    ...(config?.download ? { 200: fileResponse } : {}),
    ...(isPublic ? {} : { 429: tooManyResponse }),
    ...(schema.response as object | undefined),
    default: problemResponse,
  }
  return { ...shared, ...(config?.upload ? uploadBody : {}), ...schema, description, response } as FastifySchema
}

/** Zod leaves out the examples of an input that it completes or transforms: those of most bodies. */
function withExamples(schema: FastifySchema, { body }: FastifySchema): FastifySchema {
  const examples = body instanceof z.ZodType ? body.meta()?.examples : undefined
  return examples ? { ...schema, body: { ...(schema.body as object), examples } } : schema
}

/** `/api/dead-letters/:id` → `Dead letters`. */
function tagOf(url: string): string {
  const resource = url.split('/').find((part) => part !== '' && part !== 'api') ?? 'root'
  return resource.charAt(0).toUpperCase() + resource.slice(1).replaceAll('-', ' ')
}

const problemResponse = {
  description: 'An error, as a problem document.',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}

const tooManyResponse = {
  ...problemResponse,
  description: 'The tenant has asked more often than `RATE_LIMIT_PER_MINUTE` allows.',
  headers: {
    'Retry-After': { type: 'integer', description: 'Seconds until the next request is allowed.' },
    'X-RateLimit-Limit': { type: 'integer', description: 'Requests a minute. On every answer, as those that follow.' },
    'X-RateLimit-Remaining': { type: 'integer', description: 'Requests that are allowed now.' },
    'X-RateLimit-Reset': { type: 'integer', description: 'When all are allowed again, in seconds since 1970.' },
    'RateLimit-Policy': { type: 'string', description: 'The same as the IETF has it: `"default";q=600;w=60`.' },
    RateLimit: { type: 'string', description: '`"default";r=599;t=1`.' },
  },
}

const fileResponse = {
  description: 'The file.',
  content: { '*/*': { schema: { type: 'string', format: 'binary' } } },
}

const uploadBody = {
  consumes: ['multipart/form-data'],
  body: {
    type: 'object',
    required: [FILE_FIELD],
    properties: { [FILE_FIELD]: { type: 'string', format: 'binary' } },
  },
}

const idempotencyHeader = {
  type: 'object',
  properties: {
    'Idempotency-Key': {
      type: 'string',
      minLength: 1,
      maxLength: 255,
      description: 'Repeating the request under the same key gives the first answer again, for 24 hours.',
    },
  },
}

const problemSchema = {
  type: 'object' as const,
  description: 'RFC 9457.',
  required: ['type', 'title', 'status', 'code', 'action', 'traceId'],
  properties: {
    type: { type: 'string' as const, description: 'The page about this code.' },
    title: { type: 'string' as const },
    status: { type: 'integer' as const },
    detail: { type: 'string' as const, description: 'What is special about this occurrence.' },
    code: { type: 'string' as const, enum: Object.keys(errorCatalogue) },
    action: { type: 'string' as const, description: 'What to do now.' },
    errors: {
      type: 'array' as const,
      items: {
        type: 'object' as const,
        required: ['pointer', 'detail'],
        properties: {
          pointer: { type: 'string' as const, description: 'JSON pointer (RFC 6901) to the field.' },
          detail: { type: 'string' as const },
        },
      },
    },
    traceId: { type: 'string' as const, description: 'To quote when reporting.' },
    retryAfter: { type: 'integer' as const, description: 'Seconds.' },
    oldestCursor: { type: 'string' as const, description: 'With `cursor_gone`: from where on events are kept.' },
  },
}

const openApiBase = (version: string) => ({
  openapi: '3.1.0',
  info: {
    title: 'Mirante',
    version,
    description:
      'A WhatsApp gateway that does not lose messages. Every error is a problem document: see [the list of codes](/docs/errors). ' +
      'Every mutating route honours `Idempotency-Key`.',
  },
  components: {
    schemas: { Problem: problemSchema },
    securitySchemes: {
      bearer: { type: 'http' as const, scheme: 'bearer', description: 'An API key.' },
      apiKeyHeader: { type: 'apiKey' as const, in: 'header' as const, name: 'X-Api-Key' },
    },
  },
})
