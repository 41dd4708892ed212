/**
 * Which servers the tests may use: by URL variable, or on the default port if one answers there. Nothing is ever started,
 * stopped or configured here; PostgreSQL alone has a stand-in (see global-setup.ts).
 *
 * | server     | variable                               | default                              |
 * |------------|----------------------------------------|--------------------------------------|
 * | PostgreSQL | TEST_DATABASE_URL or DATABASE_URL_TEST | postgres://postgres@127.0.0.1:5432   |
 * | Redis      | TEST_REDIS_URL                         | redis://127.0.0.1:6379               |
 * | RabbitMQ   | TEST_AMQP_URL                          | amqp://127.0.0.1:5672                |
 */
import { connect } from 'node:net'
import pg from 'pg'
import { describe, inject } from 'vitest'

export interface Services {
  readonly postgres?: string
  readonly redis?: string
  readonly rabbitmq?: string
}
export type ServiceName = keyof Services

declare module 'vitest' {
  interface ProvidedContext {
    services: Services
    /** Marks the databases of this run. */
    runId: string
  }
}

interface Probe {
  readonly variables: readonly string[]
  readonly defaultUrl: string
  readonly answers: (url: string) => Promise<boolean>
}

const probes: Readonly<Record<ServiceName, Probe>> = {
  postgres: {
    variables: ['TEST_DATABASE_URL', 'DATABASE_URL_TEST'],
    defaultUrl: 'postgres://postgres@127.0.0.1:5432/postgres',
    answers: postgresAnswers,
  },
  redis: {
    variables: ['TEST_REDIS_URL'],
    defaultUrl: 'redis://127.0.0.1:6379',
    answers: (url) => answersTo(url, 6379, 'PING\r\n', ['+PONG', '-NOAUTH', '-DENIED']),
  },
  rabbitmq: {
    variables: ['TEST_AMQP_URL'],
    defaultUrl: 'amqp://127.0.0.1:5672',
    // The server opens with Connection.Start: a method frame on channel 0.
    answers: (url) => answersTo(url, 5672, 'AMQP\0\0\x09\x01', ['\x01\0\0']),
  },
}

/** Finds what answers. A variable that names a server which does not answer is an error: somebody meant it. */
export async function findServices(): Promise<Services> {
  const found = await Promise.all(
    (Object.keys(probes) as ServiceName[]).map(async (name) => [name, await find(name)] as const),
  )
  return Object.fromEntries(found.filter(([, url]) => url !== undefined))
}

/** The suite of tests that need a server. Without it they are skipped by name; with CI=true that is a failure. */
export function describeWithService(name: ServiceName, title: string, body: (url: string) => void): void {
  const url = inject('services')[name]
  if (url !== undefined) return void describe(title, () => body(url))
  const why = `${name} does not answer; set ${probes[name].variables[0]}`
  if (process.env.CI === 'true') throw new Error(`${title}: ${why}`)
  describe.skip(`${title} (skipped: ${why})`, () => body(''))
}

// Helpers

/** Where nobody listens the refusal comes at once; a busy server may take its time. */
const PROBE_MS = 15_000

async function find(name: ServiceName): Promise<string | undefined> {
  const { variables, defaultUrl, answers } = probes[name]
  const given = variables.find((variable) => process.env[variable])
  const url = given === undefined ? defaultUrl : (process.env[given] ?? defaultUrl)
  if (await answers(url)) return url
  if (given !== undefined) throw new Error(`${given} is set, but no ${name} answers there`)
  return undefined
}

/** Whether we may log in and make databases there. */
async function postgresAnswers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: PROBE_MS, query_timeout: PROBE_MS })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query(
      `select (rolcreatedb and rolcreaterole or rolsuper) and current_setting('server_version_num')::int >= 150000 as fits
       from pg_roles where rolname = current_user`,
    )
    return rows[0]?.fits === true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

function answersTo(url: string, defaultPort: number, hello: string, expected: string[]): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) || defaultPort, timeout: PROBE_MS })
    const settle = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => socket.write(hello, 'latin1'))
    socket.once('data', (data) => settle(expected.some((start) => data.toString('latin1').startsWith(start))))
    for (const event of ['error', 'timeout', 'close'] as const) socket.once(event, () => settle(false))
  })
}
