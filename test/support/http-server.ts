/** The real HTTP server over a test database, with route modules of the test's choice, asked without a socket. */
import { randomBytes } from 'node:crypto'
import sql from 'sql-template-tag'
import { newSecret } from '../../src/features/tenants/api-key.js'
import { insertKey, revokeKey } from '../../src/features/tenants/api-key-store.js'
import { createDataKeys, type DataKeys, kekOf } from '../../src/features/tenants/data-keys.js'
import { createKeyVerifier, type KeyVerifier } from '../../src/features/tenants/key-verifier.js'
import { ensureDefaultTenant } from '../../src/features/tenants/tenant-store.js'
import { systemClock } from '../../src/kernel/clock.js'
import { createIdGenerator, type TenantId } from '../../src/kernel/ids.js'
import { type Logger, silentLogger } from '../../src/kernel/logger.js'
import type { Database } from '../../src/platform/database/database.js'
import type { RateLimitOptions } from '../../src/platform/http/rate-limit.js'
import type { App, Scope } from '../../src/platform/http/route.js'
import { createHttpServer, type HttpServer } from '../../src/platform/http/server.js'

/** A server that can be asked, and its database's keys and tenants. */
export interface Askable {
  readonly server: HttpServer
  /** A tenant of one's own, besides the default one. */
  newTenant(): Promise<TenantId>
  /** A fresh key with these scopes, in clear. @default the default tenant, admin */
  newKey(options?: NewKey): Promise<string>
  ask(method: string, url: string, options?: AskOptions): Promise<Answer>
}

export interface TestServer extends Askable {
  readonly verifier: KeyVerifier
  readonly dataKeys: DataKeys
  stop(): Promise<void>
}

interface NewKey {
  readonly tenantId?: TenantId
  readonly scopes?: readonly Scope[]
  readonly expiresAt?: Date
  readonly revoked?: boolean
}

export interface AskOptions {
  readonly key?: string
  /** Sent as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly text: string
  /** Undefined when the body is not JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape.
  readonly json: any // oxlint-disable-line typescript/no-explicit-any
}

export interface TestServerOptions {
  readonly db: Database
  readonly modules: (parts: { readonly verifier: KeyVerifier; readonly dataKeys: DataKeys }) => ((app: App) => void)[]
  readonly logger?: Logger
  readonly rateLimit?: RateLimitOptions
}

export async function createTestServer(options: TestServerOptions): Promise<TestServer> {
  const { db, modules, logger = silentLogger, rateLimit } = options
  const dataKeys = createDataKeys({ db, kek: kekOf(randomBytes(32)) })
  const verifier = createKeyVerifier({ db, clock: systemClock, logger })
  await verifier.start()
  const server = createHttpServer({
    logger,
    version: '0.0.0-test',
    host: '127.0.0.1',
    port: 0,
    authenticate: verifier.authenticate,
    idempotency: {
      db,
      vault: {
        seal: (tenantId, id, plaintext) => dataKeys.sealForTenant(tenantId, 'idempotency', id, plaintext),
        open: (tenantId, id, sealed) => dataKeys.openForTenant(tenantId, 'idempotency', id, sealed),
      },
    },
    modules: modules({ verifier, dataKeys }),
    rateLimit,
  })
  return {
    ...(await askable(db, server)),
    verifier,
    dataKeys,
    async stop() {
      await server.stop()
      await verifier.stop()
    },
  }
}

/** Makes a server of any composition one that can be asked. */
export async function askable(db: Database, server: HttpServer): Promise<Askable> {
  const ids = createIdGenerator()
  const defaultTenant = await ensureDefaultTenant(db)
  return { server, newTenant, newKey, ask }

  async function newTenant(): Promise<TenantId> {
    const id = ids.next('ten')
    await db.execute(sql`insert into tenant (id, name) values (${id}, ${id})`)
    return id
  }

  async function newKey({
    tenantId = defaultTenant,
    scopes = ['admin'],
    expiresAt,
    revoked,
  }: NewKey = {}): Promise<string> {
    const { clearKey, ...secret } = newSecret()
    const row = { ...secret, id: ids.next('key'), name: 'test', scopes, expiresAt: expiresAt ?? null }
    await db.tenantTx(tenantId, async (tx) => {
      await insertKey(tx, tenantId, row)
      if (revoked) await revokeKey(tx, tenantId, row.id)
    })
    return clearKey
  }

  async function ask(method: string, url: string, { key, body, headers = {} }: AskOptions = {}): Promise<Answer> {
    const answer = await server.app.inject({
      method: method as 'GET',
      url,
      headers: {
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    return {
      status: answer.statusCode,
      headers: answer.headers as Record<string, string | undefined>,
      text: answer.body,
      json: parsed(answer.body),
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
