/** Who is asking: the API key of a request, and whether it has the scope that the route names. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../kernel/errors.js'
import type { App, Auth, Scope } from './route.js'

/** Tells whose key this is. Rejects with `unauthenticated`, its detail saying why. */
export type Authenticate = (presentedKey: string) => Promise<Auth>

/** `Authorization: Bearer <key>`, `X-Api-Key: <key>` or `apikey: <key>`; undefined when there is none. */
export function presentedKey(request: FastifyRequest): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
  const key = bearer ?? request.headers['x-api-key'] ?? request.headers.apikey
  return typeof key === 'string' && key !== '' ? key : undefined
}

export const hasScope = ({ scopes }: Auth, scope: Scope): boolean => scopes.has(scope) || scopes.has('admin')

const authSlot = Symbol('auth')
type Slotted = FastifyRequest & { [authSlot]: Auth | null }

/** Checks the key before the body is read. */
export function addAuthentication(app: App, authenticate: Authenticate): void {
  app.decorateRequest(authSlot, null)
  app.decorateRequest('auth', {
    getter(this: FastifyRequest): Auth {
      const auth = (this as Slotted)[authSlot]
      if (!auth) throw new AppError('unauthenticated')
      return auth
    },
  })
  app.addHook('onRequest', async (request: FastifyRequest, _reply: FastifyReply) => {
    const { scope } = request.routeOptions.config
    if (request.is404 || scope === undefined || scope === 'public') return
    const key = presentedKey(request)
    if (key === undefined) throw new AppError('unauthenticated', { detail: 'No API key was sent.' })
    const auth = await authenticate(key)
    if (!hasScope(auth, scope)) throw new AppError('forbidden_scope', { detail: `The scope "${scope}" is needed.` })
    ;(request as Slotted)[authSlot] = auth
  })
}

/** The auth of a request that has passed the check; null on public routes. */
export const authOrNull = (request: FastifyRequest): Auth | null => (request as Slotted)[authSlot]
