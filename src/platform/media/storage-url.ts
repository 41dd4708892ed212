/** What a STORAGE_URL says. Pure. */
import type { S3Place } from './s3-client.js'

export type StoragePlace =
  /** Undefined: `media` in the data directory. */
  { readonly kind: 'directory'; readonly path: string | undefined } | ({ readonly kind: 's3' } & S3Place)

const PARAMETERS = ['endpoint', 'region', 'style', 'public']
const EXAMPLE = 's3://bucket/prefix?region=sa-east-1'

/** The place, or what is wrong with the URL, as the end of a sentence that begins with its name. */
export function parseStorageUrl(value: string): StoragePlace | { readonly problem: string } {
  if (/^file:(\/\/)?$/.test(value)) return { kind: 'directory', path: undefined }
  if (/^file:\/\/\/./.test(value) && URL.canParse(value)) {
    return { kind: 'directory', path: decodeURIComponent(new URL(value).pathname) }
  }
  if (!value.startsWith('s3://') || !URL.canParse(value)) {
    return { problem: `must be \`file:\`, or file:/// and the path of a directory, or ${EXAMPLE}` }
  }
  return parseS3(new URL(value))
}

function parseS3(url: URL): StoragePlace | { readonly problem: string } {
  const { hostname: bucket, pathname, searchParams } = url
  if (url.username || url.password) {
    return { problem: 'must hold no secret: set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY' }
  }
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) return { problem: `names no bucket: ${EXAMPLE}` }
  const unknown = [...searchParams.keys()].filter((name) => !PARAMETERS.includes(name))
  if (unknown.length > 0) return { problem: `knows ${PARAMETERS.join(', ')}, and not ${unknown.join(', ')}` }
  const prefix = pathname.replaceAll(/^\/+|\/+$/g, '')
  if (!/^([\w-]+(\/[\w-]+){0,4})?$/.test(prefix)) {
    return { problem: 'may have a prefix of letters, digits, dashes and underscores only, in at most five parts' }
  }
  const region = searchParams.get('region') ?? 'us-east-1'
  if (!/^[\w-]{1,50}$/.test(region)) return { problem: `names no region: ${EXAMPLE}` }
  const given = searchParams.get('endpoint')
  const publicEndpoint = searchParams.get('public') ?? undefined
  const wrong = [given, publicEndpoint].find((endpoint) => endpoint != null && !isOrigin(endpoint))
  if (wrong !== undefined) return { problem: 'must have endpoints such as https://s3.example.com:9000, without a path' }
  // AWS gives no new bucket under a path; nearly all others take one, and some nothing else.
  const style = searchParams.get('style') ?? (given === null ? 'host' : 'path')
  if (style !== 'path' && style !== 'host') return { problem: 'has the styles `path` and `host` only' }
  const endpoint = given ?? `https://s3.${region}.amazonaws.com`
  return { kind: 's3', endpoint, region, bucket, prefix: prefix && `${prefix}/`, style, publicEndpoint }
}

function isOrigin(value: string): boolean {
  if (!URL.canParse(value)) return false
  const { protocol, pathname, search, hash, username } = new URL(value)
  return (protocol === 'https:' || protocol === 'http:') && pathname === '/' && `${search}${hash}${username}` === ''
}
