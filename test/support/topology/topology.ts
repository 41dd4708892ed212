/**
 * All that compose.ha.yml describes, as processes on free ports: NGINX before three Mirantes, PostgreSQL with a standby, Redis
 * with a replica and three sentinels, RabbitMQ, S3, and a simulated WhatsApp. Each of them may be killed, none is shared.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AwsClient } from 'aws4fetch'
import type { Cluster } from '../cluster.js'
import { callApi, TEST_API_KEY } from '../launch.js'
import { type Replicas, startReplicas } from '../replicas/replicas.js'
import { type Nginx, startNginx } from '../servers/nginx.js'
import { type PostgresPair, startPostgresPair } from '../servers/postgres-pair.js'
import { type RabbitServer, startRabbit } from '../servers/rabbitmq.js'
import { type RedisWithSentinels, startRedisWithSentinels } from '../servers/redis.js'
import { type S3Server, startS3 } from '../servers/s3.js'
import { composeEnvironments } from './compose-environment.js'

export interface Topology {
  readonly replicas: Replicas
  readonly nginx: Nginx
  readonly postgres: PostgresPair
  readonly redis: RedisWithSentinels
  readonly rabbit: RabbitServer
  readonly s3: S3Server
  stop(): Promise<void>
}

export interface TopologyOptions {
  readonly seed: number
  /** For all replicas, over what the file says. */
  readonly env?: Readonly<Record<string, string>>
}

export async function startTopology({ seed, env = {} }: TopologyOptions): Promise<Topology> {
  const opened: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    const failures: unknown[] = []
    for (const close of opened.splice(0).reverse()) await close().catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }
  const keep = <Server extends { stop(): Promise<unknown> }>(server: Server): Server => {
    opened.push(() => server.stop())
    return server
  }
  try {
    const directory = mkdtempSync(join(tmpdir(), 'mirante-topology-'))
    opened.push(async () => rmSync(directory, { recursive: true, force: true }))
    const postgres = keep(await startPostgresPair({ settings: { max_connections: '300' } }))
    const redis = keep(await startRedisWithSentinels({ appendOnly: true }))
    const rabbit = keep(await startRabbit())
    const s3 = keep(await startS3())
    await makeBucket(s3, 'mirante')
    const environments = composeEnvironments(directory, {
      secrets: {
        bootstrap_api_key: TEST_API_KEY,
        database_url: postgres.url,
        database_replica_url: postgres.standby.url,
        redis_url: redis.url,
        queue_url: rabbit.url,
        s3_access_key_id: s3.accessKeyId,
        s3_secret_access_key: s3.secretAccessKey,
      },
      addresses: { 'minio:9000': `127.0.0.1:${s3.port}` },
    })
    const replicas = keep(
      await startReplicas({
        seed,
        names: [...environments.keys()],
        cluster: clusterOf(postgres),
        envOf: (name) => ({ ...WITHOUT, ...environments.get(name), ...env }),
      }),
    )
    const addresses = replicas.all.map(({ process }) => new URL(process.url).host)
    const nginx = keep(await startNginx({ replicas: addresses }))
    const api: Replicas['api'] = (method, path, request) => callApi(nginx.url, method, path, request)
    return { replicas: { ...replicas, api }, nginx, postgres, redis, rabbit, s3, stop }
  } catch (error) {
    await stop().catch(() => undefined)
    throw error
  }
}

// Helpers

/** What the harness gives otherwise: an empty variable counts as absent. */
const WITHOUT = { DATABASE_URL: '', ENCRYPTION_KEY: '', BOOTSTRAP_API_KEY: '' }

async function makeBucket({ endpoint, region, accessKeyId, secretAccessKey }: S3Server, name: string): Promise<void> {
  const client = new AwsClient({ accessKeyId, secretAccessKey, region, service: 's3' })
  const answer = await client.fetch(`${endpoint}/${name}`, { method: 'PUT' })
  if (!answer.ok) throw new Error(`the bucket was not made: ${answer.status} ${await answer.text()}`)
}

/** The primary, whoever that is, for who wants one PostgreSQL. */
const clusterOf = (pair: PostgresPair): Cluster => ({
  url: pair.primary.url,
  get pid() {
    return pair.primary.pid
  },
  kill: () => void pair.killPrimary(),
  restart: () => pair.restartPrimary(),
  stop: () => pair.stop(),
})
