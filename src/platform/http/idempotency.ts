/**
 * `Idempotency-Key` on mutating routes. Same key and request: the first answer again, with `Idempotent-Replayed: true`.
 * Another request under the key: 422. The first still running: 409. A key lives 24 hours.
 *
 * Promises: two requests under one key never run at the same time, and an answer that was given is given again. Does not
 * promise: that work whose process died before it could keep the answer is not done again; a route that must promise that
 * says `idempotency: 'own'` and writes the key in the very statement that does the work, with `readIdempotency`.
 *
 * Answers that may differ next time (5xx, and every error that invites a retry) are not kept.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { sha256 } from '../../kernel/crypto.js'
import { AppError, errorCatalogue } from '../../kernel/errors.js'
import type { TenantId } from '../../kernel/ids.js'
import { errorText, type Logger } from '../../kernel/logger.js'
import type { Database } from '../database/database.js'
import { authOrNull } from './auth.js'
import { type Claim, claimKey, type RequestIdentity, releaseKey, storeAnswer } from './idempotency-store.js'
import type { App } from './route.js'

/** Seals stored answers: one may hold what is shown only once, such as a new API key. */
export interface AnswerVault {
  seal(tenantId: TenantId, id: string, plaintext: Buffer): Promise<Buffer>
  open(tenantId: TenantId, id: string, sealed: Buffer): Promise<Buffer>
}

export interface IdempotencyOptions {
  readonly db: Database
  readonly vault: AnswerVault
  readonly logger: Logger
}

export const REPLAYED_HEADER = 'idempotent-replayed'

const MUTATING: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/**
 * Key, route and fingerprint of a request that carries a key; null without one. The query does not count: how long to wait,
 * say, is no part of what is asked for. Throws `idempotency_key_invalid`.
 */
export function readIdempotency(request: FastifyRequest): RequestIdentity | null {
  const key = readIdempotencyKey(request)
  if (key === undefined) return null
  const path = request.url.split('?')[0] ?? ''
  return {
    route: `${request.method} ${request.routeOptions.url}`,
    key,
    fingerprint: fingerprintOf({ path, body: request.body }),
  }
}

/** The header's value: 1 to 255 visible ASCII characters. Throws `idempotency_key_invalid` on any other. */
function readIdempotencyKey(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(key)) throw new AppError('idempotency_key_invalid')
  return key
}

/** SHA-256 of a body, whatever the order of the names in its objects. */
const fingerprintOf = (body: unknown): Buffer => sha256(canonicalJson(body))

/** JSON with the names of objects in order. Bodies are at most 20 levels deep (json-body.ts). */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`
  // What says itself how it is written (a date that a schema made) is written so.
  if (typeof value !== 'object' || value === null || 'toJSON' in value) return JSON.stringify(value) ?? ''
  const object = value as Readonly<Record<string, unknown>>
  let members = ''
  for (const name of Object.keys(object).sort()) {
    if (object[name] === undefined) continue
    members += `${members === '' ? '' : ','}${JSON.stringify(name)}:${canonicalJson(object[name])}`
  }
  return `{${members}}`
}

const identitySlot = Symbol('idempotency identity')
const claimSlot = Symbol('idempotency claim')
type Slotted = FastifyRequest & { [identitySlot]: RequestIdentity | null; [claimSlot]: Claim | null }

interface StoredAnswer {
  readonly contentType: string | undefined
  readonly location: string | undefined
  readonly body: string
}

/** Adds the 'stored' mode to every mutating route that does not say `idempotency: 'own'`. */
export function addIdempotency(app: App, options: IdempotencyOptions): void {
  const { db, logger } = options
  app.decorateRequest(identitySlot, null)
  app.decorateRequest(claimSlot, null)

  // The hooks answer by `done` where there is nothing to wait for: most requests have no stored answer.

  // Before validation, so that the fingerprint is of what was sent and not of what the schema made of it.
  app.addHook('preValidation', (request: FastifyRequest, _reply: FastifyReply, done: () => void) => {
    if (isStored(request)) (request as Slotted)[identitySlot] = readIdempotency(request)
    done()
  })

  // After validation, so that a request that never had a chance does not use up its key.
  app.addHook('preHandler', (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => {
    const identity = (request as Slotted)[identitySlot]
    if (!identity) return done()
    claim(request, reply, identity).then((isFirst) => isFirst && done(), done)
  })

  // The answer is kept before it leaves: who has seen it will see it again.
  app.addHook('onSend', (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: () => void) => {
    const claim = (request as Slotted)[claimSlot]
    if (!claim) return done()
    settle(request, reply, claim, payload).then(done, done)
  })

  /** False when the request is answered already: then it goes no further. */
  async function claim(request: FastifyRequest, reply: FastifyReply, identity: RequestIdentity): Promise<boolean> {
    const key = await claimKey(db, request.auth.tenantId, identity)
    if (key.state === 'running') throw new AppError('idempotency_in_progress')
    if (key.state === 'reused') throw new AppError('idempotency_key_reused')
    if (key.state === 'answered') {
      await replay(request, reply, identity, key)
      return false
    }
    ;(request as Slotted)[claimSlot] = key.claim
    return true
  }

  async function replay(
    request: FastifyRequest,
    reply: FastifyReply,
    identity: RequestIdentity,
    { status, response }: { readonly status: number; readonly response: unknown },
  ): Promise<FastifyReply> {
    const { contentType, location, body } = await openAnswer(request, identity, response)
    if (contentType !== undefined) reply.header('content-type', contentType)
    if (location !== undefined) reply.header('location', location)
    return reply
      .code(status)
      .header(REPLAYED_HEADER, 'true')
      .send(body === '' ? undefined : body)
  }

  async function settle(request: FastifyRequest, reply: FastifyReply, claim: Claim, payload: unknown): Promise<void> {
    const { tenantId } = request.auth
    try {
      if (!isFinal(reply.statusCode, payload)) return await releaseKey(db, tenantId, claim)
      const response = await sealAnswer(request, claim, {
        contentType: headerText(reply.getHeader('content-type')),
        location: headerText(reply.getHeader('location')),
        body: bodyText(payload),
      })
      await storeAnswer(db, tenantId, claim, { status: reply.statusCode, response })
    } catch (error) {
      // The work is done and its answer is true, so it goes out; only a repetition of the request may do it again.
      logger.warn('HTTP', 'an idempotent answer could not be kept', {
        traceId: request.traceId,
        route: claim.route,
        error: errorText(error),
      })
    }
  }

  async function sealAnswer(
    request: FastifyRequest,
    identity: RequestIdentity,
    answer: StoredAnswer,
  ): Promise<unknown> {
    const plaintext = Buffer.from(JSON.stringify(answer))
    const sealed = await options.vault.seal(request.auth.tenantId, vaultId(identity), plaintext)
    return { sealed: sealed.toString('base64') }
  }

  async function openAnswer(
    request: FastifyRequest,
    identity: RequestIdentity,
    response: unknown,
  ): Promise<StoredAnswer> {
    const { sealed } = response as { sealed: string }
    const plaintext = await options.vault.open(request.auth.tenantId, vaultId(identity), Buffer.from(sealed, 'base64'))
    return JSON.parse(plaintext.toString('utf8')) as StoredAnswer
  }
}

const vaultId = ({ route, key }: RequestIdentity): string => sha256(`${route}\n${key}`).toString('hex')

function isStored(request: FastifyRequest): boolean {
  return (
    !request.is404 &&
    MUTATING.has(request.method) &&
    request.routeOptions.config.idempotency !== 'own' &&
    authOrNull(request) !== null
  )
}

/** Whether the same request would get the same answer tomorrow. */
function isFinal(status: number, payload: unknown): boolean {
  if (status >= 500 || typeof (payload ?? '') !== 'string') return false
  if (status < 400) return true
  const { code } = JSON.parse(String(payload)) as { code?: keyof typeof errorCatalogue }
  return code !== undefined && !errorCatalogue[code].retry
}

const bodyText = (payload: unknown): string => (typeof payload === 'string' ? payload : '')

const headerText = (value: string | number | string[] | undefined): string | undefined =>
  value === undefined ? undefined : String(value)
