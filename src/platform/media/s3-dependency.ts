/** How the bucket of the media is doing: asked by writing an object of one byte, since all that may be wrong shows then. */
import type { Clock } from '../../kernel/clock.js'
import type { Dependency, DependencyProblem, DependencyReport } from '../../kernel/dependency.js'
import { type S3Client, S3Error } from './s3-client.js'

export interface S3DependencyOptions {
  readonly client: S3Client
  readonly clock: Pick<Clock, 'now' | 'mono' | 'sleep'>
  /** @default 2,000 */
  readonly withinMs?: number
}

/** What the check writes, beside the files: a key that no media has. */
const CHECK_KEY = 'mirante-check'

export const WITHOUT_STORAGE =
  'Uploads and downloads are answered with 503; files that come in, and messages with a file, wait.'

export function createS3Dependency({ client, clock, withinMs = 2_000 }: S3DependencyOptions): Dependency {
  return {
    name: 'storage',
    async check() {
      const startedAt = clock.mono()
      try {
        const version = await inTime(write())
        return report({ status: 'up', latencyMs: Math.round(clock.mono() - startedAt), version })
      } catch (error) {
        const problem = problemOf(error, clock.now())
        if (!(error instanceof S3Error) || error.status === undefined) return report({ status: 'down' }, problem)
        return report({ status: 'degraded', latencyMs: Math.round(clock.mono() - startedAt) }, problem)
      }
    },
  }

  async function write(): Promise<string | null> {
    const { header } = await client.ask({ method: 'PUT', key: CHECK_KEY, body: Buffer.from('.'), retries: 0 })
    return header('server') ?? null
  }

  async function inTime<Value>(work: Promise<Value>): Promise<Value> {
    const ended = new AbortController()
    const late = clock.sleep(withinMs, ended.signal).then(() => {
      throw new S3Error('timeout')
    })
    late.catch(() => undefined)
    try {
      return await Promise.race([work, late])
    } finally {
      ended.abort()
    }
  }
}

function report(found: Partial<DependencyReport> & Pick<DependencyReport, 'status'>, problem?: DependencyProblem) {
  const meanwhile = found.status === 'up' ? null : WITHOUT_STORAGE
  const problems = problem ? [problem] : []
  return { name: 'storage' as const, latencyMs: null, version: null, meanwhile, ...found, problems }
}

function problemOf(error: unknown, now: number): DependencyProblem {
  const { status, code, date, region } = error instanceof S3Error ? error : new S3Error('unknown', { cause: error })
  if (status === undefined) return withoutAnswer(code)
  if (code === 'RequestTimeTooSkewed' || (code === 'AccessDenied' && isSkewed(date, now))) {
    const seconds = date === undefined ? 'more than 900' : Math.round(Math.abs(now - date) / 1_000)
    const found = `The clock of this machine and that of the S3 service differ by ${seconds} seconds.`
    return { code: 'clock_skew', found, action: 'Set the clock by NTP on both.' }
  }
  if (code === 'NoSuchBucket') {
    const action = 'Create it, or correct STORAGE_URL.'
    return { code: 'bucket_missing', found: 'The bucket of STORAGE_URL does not exist.', action }
  }
  if (
    code === 'AuthorizationHeaderMalformed' ||
    code === 'PermanentRedirect' ||
    code === 'IllegalLocationConstraintException'
  ) {
    const found = `The service is not in the region of STORAGE_URL${region === undefined ? '' : `, but in ${region}`}.`
    return { code: 'wrong_region', found, action: `Set ?region=${region ?? '…'} in STORAGE_URL.` }
  }
  if (status === 507 || /Quota|StorageFull|InsufficientStorage|NoSpace/.test(code)) {
    return {
      code: 'full',
      found: `The S3 service has no room left (${code}).`,
      action: 'Make room, or raise the quota.',
    }
  }
  if (status === 401 || status === 403) {
    const action =
      'Correct S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, and what they may do in the bucket (docs/storage.md).'
    return { code: 'refused', found: `The S3 service refuses the credentials (${code}).`, action }
  }
  const found = `The S3 service answers with ${status} ${code}.`
  return { code: 'failing', found, action: 'Look at the S3 service; Mirante goes on by itself.' }
}

function withoutAnswer(code: string): DependencyProblem {
  if (/CERT|TLS|SSL|EPROTO/.test(code)) {
    const action = 'Give the service a certificate for this name; for an authority of your own set NODE_EXTRA_CA_CERTS.'
    return { code: 'tls', found: `The certificate of the S3 service is not accepted (${code}).`, action }
  }
  const action = 'Start it, or correct the endpoint in STORAGE_URL; Mirante goes on by itself.'
  return { code: 'unreachable', found: `The S3 service does not answer (${code}).`, action }
}

const SKEW_MS = 300_000
const isSkewed = (date: number | undefined, now: number): boolean =>
  date !== undefined && Math.abs(now - date) > SKEW_MS
