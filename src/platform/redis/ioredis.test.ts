import { afterAll, describe, expect, it } from 'vitest'
import { describeWithDebian } from '../../../test/support/describe-with-debian.js'
import { startRedis, startRedisCluster, startRedisWithSentinels } from '../../../test/support/servers/redis.js'
import { silentLogger } from '../../kernel/logger.js'
import { createIoRedis } from './ioredis.js'
import { type Redis, redisScript } from './redis.js'

const PATIENCE = { timeout: 20_000, interval: 50 }
const increment = redisScript(`return redis.call('INCRBY', KEYS[1], ARGV[1])`)

describeWithDebian(['redis-server'], 'Redis by ioredis', () => {
  const ends: (() => Promise<void>)[] = []
  afterAll(async () => void (await Promise.all(ends.map((end) => end()))))

  function kept<Kept extends { stop(): Promise<void> }>(thing: Kept): Kept {
    ends.unshift(() => thing.stop())
    return thing
  }

  async function connect(url: string, logger = silentLogger): Promise<Redis> {
    const redis = kept(createIoRedis({ url, name: 'mirante test', logger, random: Math.random }))
    await redis.start()
    return redis
  }

  async function connected(url: string): Promise<Redis> {
    const redis = await connect(url)
    await expect.poll(() => redis.isReady, PATIENCE).toBe(true)
    return redis
  }

  it('runs a script that the server has forgotten', async () => {
    const server = kept(await startRedis())
    const redis = await connected(server.url)
    expect(await redis.runScript(increment, ['n'], [2])).toBe(2)
    await server.cli('script', 'flush')
    expect(await redis.runScript(increment, ['n'], [3])).toBe(5)
  })

  it('refuses commands at once while the server is gone, and sends none of them afterwards', async () => {
    const server = kept(await startRedis())
    const redis = await connected(server.url)
    await server.kill()
    await expect.poll(() => redis.isReady, PATIENCE).toBe(false)
    await expect(redis.run('incr', 'n')).rejects.toThrow(/not connected/)
    await server.restart()
    await expect.poll(() => redis.isReady, PATIENCE).toBe(true)
    expect(await redis.run('get', 'n')).toBeNull()
  })

  it('does not repeat a command whose answer was lost with the connection', async () => {
    const server = kept(await startRedis())
    const redis = await connected(server.url)
    process.kill(server.pid, 'SIGSTOP')
    const lost = redis.run('incr', 'n')
    await Promise.all([expect(lost).rejects.toThrow(), server.kill()])
    await server.restart()
    await expect.poll(() => redis.isReady, PATIENCE).toBe(true)
    expect(await redis.run('get', 'n')).toBeNull()
  })

  it('gives up a command that is not answered', async () => {
    const server = kept(await startRedis())
    const redis = await connected(server.url)
    process.kill(server.pid, 'SIGSTOP')
    await expect(redis.run('get', 'a')).rejects.toThrow(/timed out/)
    process.kill(server.pid, 'SIGCONT')
    await expect.poll(() => redis.run('get', 'a').catch(() => 'nothing yet'), PATIENCE).toBeNull()
  })

  it('tells of a wrong password once, and not which one it was', async () => {
    const server = kept(await startRedis({ password: 'right' }))
    const lines: string[] = []
    const warn = (_category: string, message: string, fields: unknown) =>
      void lines.push(`${message} ${JSON.stringify(fields)}`)
    const redis = await connect(server.url.replace('right', 'hunter2'), { ...silentLogger, warn })
    await expect.poll(() => redis.trouble, PATIENCE).toMatch(/WRONGPASS/)
    expect(redis.isReady).toBe(false)
    expect(lines).toHaveLength(1)
    expect(lines.join()).not.toContain('hunter2')
    expect(await (await connected(server.url)).run('ping')).toBe('PONG')
  })

  it('follows the sentinels to the next master', async () => {
    const servers = kept(await startRedisWithSentinels({ password: 'a-password' }))
    const redis = await connected(servers.url)
    await redis.run('set', 'a', '1')
    await servers.master.kill()
    await expect.poll(() => redis.run('set', 'a', '2').catch(() => 'not yet'), PATIENCE).toBe('OK')
    expect((await servers.replicas[0]?.cli('get', 'a'))?.trim()).toBe('2')
  })

  it('speaks to a cluster, each key to the server that has it', async () => {
    const cluster = kept(await startRedisCluster())
    const redis = await connected(cluster.url)
    const keys = Array.from({ length: 30 }, (_, index) => `key-${index}`)
    const answers = await Promise.all(keys.map((key) => redis.runScript(increment, [key], [1])))
    expect(new Set(answers)).toEqual(new Set([1]))
    const sizes = await Promise.all(cluster.nodes.map((node) => node.cli('dbsize')))
    expect(sizes.map(Number).reduce((sum, size) => sum + size, 0)).toBe(30)
    expect(sizes.map(Number)).not.toContain(0)
    expect(redis.nodes()).toHaveLength(3)
  })

  describe('without a server', () => {
    it('starts all the same, and stops', async () => {
      const redis = await connect('redis://127.0.0.1:1')
      await expect.poll(() => redis.trouble, PATIENCE).toMatch(/ECONNREFUSED/)
      await redis.stop()
      await expect(redis.run('ping')).rejects.toThrow(/not connected/)
    })
  })
})
