/**
 * DATABASE_URL as libpq has it: `postgres://user:password@one:5432,two:5432/name` names the hosts of one cluster, of which
 * one at a time is the primary. `pg` knows one host only, so each gets a URL of its own.
 */

export interface DatabaseHost {
  /** `one:5432`: for people; neither user nor password. */
  readonly place: string
  /** With everything else of the given URL. */
  readonly url: string
}

const PARTS = /^(postgres(?:ql)?:\/\/)([^/?#]*)(.*)$/i
const SESSION_ATTRIBUTES = 'target_session_attrs'
/** What Mirante does anyway, under its two names. */
const PRIMARY_ONLY = ['read-write', 'primary']
const DEFAULT_PORT = '5432'

/** What is wrong with it, to complete "DATABASE_URL …"; undefined when nothing is. */
export function problemOfDatabaseUrl(url: string): string | undefined {
  const urls = hostUrls(url)
  const parsed = urls.map((each) => (URL.canParse(each) ? new URL(each) : undefined))
  if (parsed.length === 0 || parsed.includes(undefined)) {
    return 'must be a URL that begins with postgres:// or postgresql://, with one host or several: one:5432,two:5432'
  }
  const places = parsed.map((each) => (each ? placeOf(each) : ''))
  const twice = places.find((place, index) => places.indexOf(place) !== index)
  if (twice !== undefined) return `names ${twice} twice`
  const query = parsed[0]?.searchParams
  if (query?.get('host')?.includes(','))
    return 'must name several hosts before the path: postgres://one:5432,two:5432/…'
  const wanted = query?.get(SESSION_ATTRIBUTES)
  if (wanted == null || PRIMARY_ONLY.includes(wanted)) return undefined
  return `must have ${SESSION_ATTRIBUTES}=read-write or none: Mirante writes to the primary and to nothing else`
}

/** One for each host, in the order given. Throws TypeError on what `problemOfDatabaseUrl` finds. */
export function databaseHosts(url: string): readonly [DatabaseHost, ...DatabaseHost[]] {
  const problem = problemOfDatabaseUrl(url)
  if (problem) throw new TypeError(`the database URL ${problem}`)
  const [first, ...rest] = hostUrls(url).map(hostOf)
  if (!first) throw new TypeError('the database URL names no host')
  return [first, ...rest]
}

// Helpers

function hostUrls(url: string): string[] {
  const [, scheme, authority, rest] = PARTS.exec(url) ?? []
  if (scheme === undefined || authority === undefined) return []
  const at = authority.lastIndexOf('@') + 1
  return authority
    .slice(at)
    .split(',')
    .map((host) => `${scheme}${authority.slice(0, at)}${host}${rest}`)
}

function hostOf(url: string): DatabaseHost {
  const parsed = new URL(url)
  if (!parsed.searchParams.has(SESSION_ATTRIBUTES)) return { place: placeOf(parsed), url }
  parsed.searchParams.delete(SESSION_ATTRIBUTES)
  return { place: placeOf(parsed), url: parsed.href }
}

/** The folder of a Unix socket may stand in the query. */
function placeOf({ hostname, port, searchParams }: URL): string {
  const host = hostname || searchParams.get('host') || 'localhost'
  return `${host}:${port || searchParams.get('port') || DEFAULT_PORT}`
}
