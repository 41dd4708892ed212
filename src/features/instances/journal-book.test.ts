import fc from 'fast-check'
import { expect, it } from 'vitest'
import { newKey } from '../../kernel/crypto.js'
import { createIdGenerator } from '../../kernel/ids.js'
import { instanceResource } from '../../platform/leases/lease.js'
import { openFor } from '../tenants/data-keys.js'
import { credentialPlace } from './credentials.js'
import { createBook } from './journal-book.js'

const ids = createIdGenerator()
const owner = { tenantId: ids.next('ten'), instanceId: ids.next('ins') }
const fence = { resource: instanceResource(owner.instanceId), epoch: 1n, token: 'token' }
const key = newKey()

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ id: fc.constantFrom('a', 'b', 'c'), value: fc.option(fc.string(), { nil: null }) }),
  },
  { weight: 1, arbitrary: fc.constant('flush' as const) },
)

it('after any flush, what was written is exactly the state at the position it took', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const book = createBook(fence, owner, key)
      const memory = new Map<string, string | null>()
      const written = new Map<string, string | null>()
      for (const next of steps) {
        if (next !== 'flush') {
          memory.set(next.id, next.value)
          const { id, value } = next
          book.append({ changes: [{ kind: 'session', id, read: () => (value === null ? null : Buffer.from(value)) }] })
          continue
        }
        const page = book.take()
        for (const { kind, id, sealed } of page?.credentials ?? []) {
          written.set(id, sealed && String(openFor(key, credentialPlace(owner, kind, id), sealed)))
        }
        expect(page?.upTo ?? book.tail).toBe(book.tail)
        expect(written).toEqual(memory)
      }
    }),
  )
})

it('nobody hears that a position is durable before it is settled, and everybody once it is', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(9), { minLength: 1, maxLength: 20 }), fc.nat(10), async (asked, upTo) => {
      const book = createBook(fence, owner, key)
      for (let entry = 0; entry < 10; entry++) book.append({})
      book.take()
      const heard: number[] = []
      for (const position of asked) void book.wait(position + 1, 0).then(() => heard.push(position + 1))
      if (upTo > 0) book.settle(upTo)
      await Promise.resolve()
      expect(heard).toEqual(
        asked
          .map((position) => position + 1)
          .filter((position) => position <= upTo)
          .sort(byValue),
      )
    }),
  )
})

const byValue = (left: number, right: number): number => left - right
