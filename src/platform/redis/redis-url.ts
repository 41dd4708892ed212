/**
 * How REDIS_URL names a Redis: one server, a master that sentinels know, or a cluster.
 *
 *   redis://[user:pass@]host[:6379][/db]
 *   redis+sentinel://[user:pass@]host[:26379],host…/<master>[/db][?sentinelPassword=…]
 *   redis+cluster://[user:pass@]host[:6379],host…
 *
 * `rediss` in place of `redis` speaks TLS, to the sentinels as well.
 */
export interface RedisAddress {
  readonly host: string
  readonly port: number
}

interface Login {
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: boolean
}

export type RedisTarget =
  | ({ readonly kind: 'server'; readonly address: RedisAddress; readonly db: number } & Login)
  | ({
      readonly kind: 'sentinel'
      readonly sentinels: readonly RedisAddress[]
      /** The name under which the sentinels know the master. */
      readonly master: string
      readonly db: number
      /** Of the sentinels themselves, which often have none. */
      readonly sentinelPassword: string | undefined
    } & Login)
  | ({ readonly kind: 'cluster'; readonly nodes: readonly RedisAddress[] } & Login)

const SHAPE = /^redis(s?)(\+sentinel|\+cluster)?:\/\/(?:([^@/]*)@)?([^/?@]+)(?:\/([^?]*))?(?:\?(.*))?$/

/** Throws an error whose message completes "REDIS_URL …" and names no secret. Pure. */
export function parseRedisUrl(text: string): RedisTarget {
  const [, secure, mode, userinfo = '', hosts = '', path = '', query = ''] = SHAPE.exec(text) ?? []
  if (!hosts) {
    throw new Error('must begin with redis://, rediss://, redis+sentinel:// or redis+cluster://, and name a host')
  }
  const login = { ...readUserinfo(userinfo), tls: secure === 's' }
  const parts = path.split('/').filter(Boolean).map(decode)
  const parameters = new URLSearchParams(query)
  if (mode === '+sentinel') return { kind: 'sentinel', ...readSentinel(hosts, parts, parameters), ...login }
  refuseParameters([...parameters.keys()])
  if (mode === '+cluster') {
    if (parts.length > 0) throw new Error('must name no database: a cluster has one only')
    return { kind: 'cluster', nodes: readAddresses(hosts, 6_379), ...login }
  }
  const [address, ...more] = readAddresses(hosts, 6_379)
  if (!address || more.length > 0) {
    throw new Error('names several hosts: begin with redis+sentinel:// or redis+cluster:// then')
  }
  return { kind: 'server', address, db: readDatabase(parts), ...login }
}

function readSentinel(hosts: string, [master, ...rest]: readonly string[], parameters: URLSearchParams) {
  if (!master) throw new Error('must name the master after the sentinels: redis+sentinel://h1,h2,h3/<master>')
  refuseParameters([...parameters.keys()].filter((name) => name !== 'sentinelPassword'))
  return {
    sentinels: readAddresses(hosts, 26_379),
    master,
    db: readDatabase(rest),
    sentinelPassword: parameters.get('sentinelPassword') ?? undefined,
  }
}

function refuseParameters(unknown: readonly string[]): void {
  if (unknown.length > 0) throw new Error(`has parameters that mean nothing: ${unknown.join(', ')}`)
}

function readUserinfo(userinfo: string): Pick<Login, 'username' | 'password'> {
  const [username = '', ...rest] = userinfo.split(':')
  return { username: decode(username) || undefined, password: decode(rest.join(':')) || undefined }
}

function readAddresses(hosts: string, defaultPort: number): RedisAddress[] {
  return hosts.split(',').map((text) => {
    const [, name = '', port = String(defaultPort)] = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i.exec(text) ?? []
    if (!name || Number(port) < 1 || Number(port) > 65_535) throw new Error('has a host or port that cannot be read')
    return { host: name.replace(/^\[|\]$/g, ''), port: Number(port) }
  })
}

function readDatabase([text = '0', ...more]: readonly string[]): number {
  if (more.length > 0 || !/^\d{1,4}$/.test(text)) throw new Error('must end with the number of a database, such as /0')
  return Number(text)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Error('has a percent sign that begins no escape: write it as %25')
  }
}
