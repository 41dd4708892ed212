/** Two web processes that share a Redis, which dies under them and comes back. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { composeBase } from '../../src/app/compose-base.js'
import { composeWeb } from '../../src/app/compose-web.js'
import { readConfig } from '../../src/app/config.js'
import { silentLogger } from '../../src/kernel/logger.js'
import { serviceGroup } from '../../src/kernel/service.js'
import { createTestDatabase, type TestDatabase } from '../support/database.js'
import { describeWithDebian } from '../support/describe-with-debian.js'
import { eventually } from '../support/eventually.js'
import { type Askable, askable } from '../support/http-server.js'
import { type RedisServer, startRedis } from '../support/servers/redis.js'

const PER_MINUTE = 6

describeWithDebian(['redis-server'], 'two replicas with one Redis', () => {
  let database: TestDatabase
  let redis: RedisServer
  const replicas: Askable[] = []
  const ends: (() => Promise<void>)[] = []
  let key: string

  beforeAll(async () => {
    database = await createTestDatabase()
    redis = await startRedis({ password: 'a-password-of-redis' })
    for (const name of ['one', 'two']) replicas.push(await startReplica(name))
    key = (await replicas[0]?.newKey()) ?? ''
  })
  afterAll(async () => {
    for (const end of ends.reverse()) await end()
    await redis?.stop()
    await database?.drop()
  })

  async function startReplica(name: string): Promise<Askable> {
    const config = {
      ...readConfig(
        {},
        { REDIS_URL: redis.url, RATE_LIMIT_PER_MINUTE: String(PER_MINUTE), PORT: '0', REPLICA_NAME: name },
      ),
      ...{ host: '127.0.0.1', databaseUrl: database.url, encryptionKey: Buffer.alloc(32, 7) },
    }
    const base = composeBase(config, { roles: new Set(['web']), slot: 0, logger: silentLogger })
    const { server, services } = composeWeb(config, base)
    const service = serviceGroup([base.database, ...(base.redis ? [base.redis] : []), base.incarnation, ...services])
    await service.start()
    ends.push(() => service.stop())
    await eventually(() => base.redis?.isReady === true, 'Redis is connected')
    return askable(database.db, server)
  }

  /** To one replica after the other. */
  async function statusesOf(count: number, asKey: string): Promise<number[]> {
    const statuses: number[] = []
    for (let asked = 0; asked < count; asked++) {
      const answer = await replicas[asked % replicas.length]?.ask('GET', '/api/instances', { key: asKey })
      statuses.push(answer?.status ?? 0)
    }
    return statuses
  }

  const countOf = (statuses: readonly number[], status: number) => statuses.filter((is) => is === status).length

  const dependency = async () => {
    const { json } = (await replicas[0]?.ask('GET', '/api/cluster', { key: await freshKey() })) ?? { json: {} }
    return json.dependencies?.find(({ name }: { name: string }) => name === 'redis')
  }

  /** Of a tenant whom no limit has met yet. */
  async function freshKey(): Promise<string> {
    const tenantId = await replicas[0]?.newTenant()
    return (await replicas[0]?.newKey(tenantId ? { tenantId } : {})) ?? ''
  }

  it('allows the limit once, whichever of them is asked', async () => {
    const statuses = await statusesOf(2 * PER_MINUTE, key)
    expect([countOf(statuses, 200), countOf(statuses, 429)]).toEqual([PER_MINUTE, PER_MINUTE])
    expect(await dependency()).toMatchObject({ status: 'up', version: expect.any(String), problems: [] })
  })

  it('goes on while Redis is dead: each allows its part, and says what is wrong', async () => {
    await redis.kill()
    const another = await freshKey()
    // Each has counted the other: it looks when it is first asked.
    await eventually(async () => {
      const asked = await freshKey()
      return countOf(await statusesOf(2 * PER_MINUTE, asked), 200) === PER_MINUTE
    }, 'each allows its half')
    expect(countOf(await statusesOf(2 * PER_MINUTE, another), 429)).toBe(PER_MINUTE)
    expect(await replicas[0]?.ask('GET', '/readyz')).toMatchObject({ status: 200 })
    await eventually(async () => (await dependency())?.status === 'down', 'it is told that Redis is down')
    const found = await dependency()
    expect(found).toMatchObject({ status: 'down', problems: [{ code: 'unreachable' }] })
    expect(JSON.stringify(found)).not.toContain('a-password-of-redis')
  })

  it('shares the limit again when Redis is back', async () => {
    await redis.restart()
    await eventually(async () => (await dependency())?.status === 'up', 'Redis is up again')
    await eventually(async () => {
      const asked = await freshKey()
      await replicas[0]?.ask('GET', '/api/instances', { key: asked })
      return (await redis.cli('keys', 'rate_limit:*')).trim() !== ''
    }, 'the limit is kept in Redis again')
  })
})
