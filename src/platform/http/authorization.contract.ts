/**
 * Every route × every kind of key that must not open it. Generated from the server's own list of routes, so a new route is
 * in the matrix the moment it exists.
 */
import { describe, expect, it } from 'vitest'
import type { Answer, Askable } from '../../../test/support/http-server.js'
import { type Scope, scopes } from './route.js'

export interface AuthorizationContractOptions {
  /** The running server under test, when the tests run. */
  readonly server: () => Askable
  /** Routes whose answer does not end, which therefore are not asked with a key that fits. */
  readonly streams?: readonly string[]
}

export function authorizationContract({ server, streams = [] }: AuthorizationContractOptions): void {
  const guarded = () => server().server.routes.filter(({ scope }) => scope !== 'public')
  const open = () => server().server.routes.filter(({ scope }) => scope === 'public')
  const without = (scope: Scope): Scope[] => scopes.filter((other) => other !== scope && other !== 'admin')

  async function expectEach(
    keyFor: (scope: Scope) => Promise<string | undefined>,
    expected: { status: number; code: string; detail?: string },
  ): Promise<void> {
    expect(guarded().length).toBeGreaterThan(0)
    for (const { method, url, scope } of guarded()) {
      const key = await keyFor(scope as Scope)
      const answer = await server().ask(method, pathFor(url), key === undefined ? {} : { key })
      expect(answer.status, `${method} ${url}`).toBe(expected.status)
      if (method !== 'HEAD') expect(answer.json, `${method} ${url}`).toMatchObject(expected)
    }
  }

  describe('every guarded route refuses', () => {
    const unauthenticated = { status: 401, code: 'unauthenticated' }

    it('no key', () => expectEach(async () => undefined, { ...unauthenticated, detail: 'No API key was sent.' }))

    it('a wrong key', async () => {
      const good = await server().newKey()
      const unknown = { ...unauthenticated, detail: 'This API key is not known.' }
      const wrong = [
        `${good.slice(0, -1)}${good.endsWith('0') ? '1' : '0'}`,
        `mir_0_${'0'.repeat(64)}`,
        'x',
        'bootstrap',
      ]
      for (const key of wrong) await expectEach(async () => key, unknown)
    })

    it('a revoked key', async () => {
      const key = await server().newKey({ revoked: true })
      await expectEach(async () => key, { ...unauthenticated, detail: 'This API key was revoked.' })
    })

    it('an expired key', async () => {
      const key = await server().newKey({ expiresAt: new Date(Date.now() - 1_000) })
      await expectEach(async () => key, { ...unauthenticated, detail: 'This API key has expired.' })
    })

    it('a key with every scope but the one it needs', async () => {
      const keys = new Map<Scope, string>()
      for (const scope of scopes) keys.set(scope, await server().newKey({ scopes: without(scope) }))
      await expectEach(async (scope) => keys.get(scope), { status: 403, code: 'forbidden_scope' })
    })
  })

  it('every guarded route lets in a key with just the scope it needs', async () => {
    for (const { method, url, scope } of guarded().filter((route) => !streams.includes(route.url))) {
      const key = await server().newKey({ scopes: [scope as Scope] })
      const answer = await server().ask(method, pathFor(url), { key })
      expect([401, 403], `${method} ${url}: ${answer.text}`).not.toContain(answer.status)
    }
  })

  it('every public route answers without a key', async () => {
    for (const { method, url } of open()) {
      const answer: Answer = await server().ask(method, pathFor(url))
      expect([401, 403], `${method} ${url}`).not.toContain(answer.status)
    }
  })
}

/** Any id does: whether a key opens a route is decided before the route's parameters are looked at. */
const pathFor = (url: string): string => url.replaceAll(/:\w+/g, 'ins_01HWP5WYHVFH6RWQRJ6HB7H40J')
