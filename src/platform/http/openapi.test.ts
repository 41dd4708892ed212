import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { apiKeyRoutes } from '../../features/tenants/api-key-routes.js'
import { systemClock } from '../../kernel/clock.js'
import { errorCatalogue } from '../../kernel/errors.js'
import { createIdGenerator } from '../../kernel/ids.js'

let database: TestDatabase
let http: TestServer

beforeAll(async () => {
  database = await createTestDatabase()
  const keys = apiKeyRoutes({ db: database.db, ids: createIdGenerator(), clock: systemClock })
  http = await createTestServer({ db: database.db, modules: () => [keys] })
})
afterAll(async () => {
  await http?.stop()
  await database?.drop()
})

describe('the OpenAPI document', () => {
  it('is 3.1 and describes each route with its scope, key, answers and one shared problem', async () => {
    const { status, json } = await http.ask('GET', '/openapi.json')
    expect(status).toBe(200)
    expect(json).toMatchObject({ openapi: '3.1.0', info: { title: 'Mirante', version: '0.0.0-test' } })
    const make = json.paths['/api/keys'].post
    expect(make).toMatchObject({
      tags: ['Keys'],
      description: 'Needs the scope `admin`.',
      security: [{ bearer: [] }, { apiKeyHeader: [] }],
      responses: {
        201: { content: { 'application/json': { schema: { required: expect.arrayContaining(['key']) } } } },
        default: { content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } } },
      },
    })
    expect(make.requestBody.content['application/json'].schema.required).toEqual(['name', 'scopes'])
    expect(make.parameters).toContainEqual(expect.objectContaining({ in: 'header', name: 'Idempotency-Key' }))
    expect(json.components.schemas.Problem.properties.code.enum).toEqual(Object.keys(errorCatalogue))
  })

  it('has every route of the API and none of the pages', async () => {
    const { json } = await http.ask('GET', '/openapi.json')
    const documented = Object.entries<object>(json.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    )
    const declared = http.server.routes
      .filter(({ method, url }) => method !== 'HEAD' && url.startsWith('/api/'))
      .map(({ method, url }) => `${method} ${url.replace(/:(\w+)/g, '{$1}')}`)
    expect(documented.sort()).toEqual(declared.sort())
  })
})

describe('the docs', () => {
  it('are where / and /docs lead', async () => {
    expect(await http.ask('GET', '/')).toMatchObject({ status: 302, headers: { location: '/docs/' } })
    expect(await http.ask('GET', '/docs')).toMatchObject({ status: 302, headers: { location: '/docs/' } })
  })

  it('need nothing but this server: no foreign origin in the page, and none allowed', async () => {
    const page = await http.ask('GET', '/docs/')
    expect(page.status).toBe(200)
    expect(page.headers['content-type']).toMatch(/^text\/html/)
    expect(page.text).not.toMatch(/https?:\/\//)
    expect(page.text).toMatch(/"withDefaultFonts": false/)
    expect(page.text).toMatch(/"telemetry": false/)
    const policy = page.headers['content-security-policy'] ?? ''
    expect(policy).toMatch(/default-src 'none'/)
    expect(policy).not.toMatch(/https?:|\*/)
    const script = /<script src="([^"]+)"/.exec(page.text)?.[1] ?? ''
    const { status, text, headers } = await http.ask('GET', new URL(script, 'http://x/docs/').pathname)
    expect(status).toBe(200)
    expect(headers['content-type']).toMatch(/javascript/)
    expect(text.length).toBeGreaterThan(1_000_000)
  })

  it('explain every error code, where its problem document points', async () => {
    const { status, text } = await http.ask('GET', '/docs/errors')
    expect(status).toBe(200)
    expect(text).not.toMatch(/https?:\/\//)
    for (const code of Object.keys(errorCatalogue)) expect(text).toContain(`id="${code}"`)
  })
})
