/**
 * The yardsticks of accepting: the same route (key check, schema, 202) without persistence, or with one commit a request.
 * `node accept-limit.ts none|single PORT [DATABASE_URL]`
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import fastify from 'fastify'
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import pg from 'pg'
import { z } from 'zod'
import { createIdGenerator, publicId } from '../../src/kernel/ids.js'
import { outboundContent } from '../../src/platform/whatsapp/content.js'
import { TEST_API_KEY } from '../../test/support/launch.js'

const [mode, port, databaseUrl] = process.argv.slice(2)
const ids = createIdGenerator()
const expected = createHash('sha256').update(TEST_API_KEY).digest()
const pool = mode === 'single' ? new pg.Pool({ connectionString: databaseUrl, max: 16 }) : undefined
await pool?.query(`
  create table if not exists message (id uuid primary key, idempotency_key text unique, body jsonb, created_at timestamptz
    default now());
  create index if not exists message_age on message (created_at)`)

const app = fastify().withTypeProvider<ZodTypeProvider>()
app.setValidatorCompiler(validatorCompiler)
app.setSerializerCompiler(serializerCompiler)
const body = z.intersection(
  z.object({
    instanceId: z.string(),
    to: z.string().min(1).max(64),
    metadata: z.record(z.string(), z.unknown()).optional(),
  }),
  outboundContent,
)
app.get('/readyz', async () => ({ status: 'ok' }))
app.post('/api/messages', { schema: { body } }, async (request, reply) => {
  const key = createHash('sha256')
    .update((request.headers.authorization ?? '').slice(7))
    .digest()
  if (!timingSafeEqual(key, expected)) return reply.code(401).send({ code: 'unauthenticated' })
  const id = ids.next('msg')
  await pool?.query({
    name: 'insert',
    text: 'insert into message (id, idempotency_key, body) values ($1, $2, $3)',
    values: [id, request.headers['idempotency-key'], JSON.stringify(request.body)],
  })
  return reply.code(202).send({ id: publicId('msg', id), status: 'queued' })
})
await app.listen({ host: '127.0.0.1', port: Number(port) })
