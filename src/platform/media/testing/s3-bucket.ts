/** A bucket of its own on a running S3 service, and what lies in it. */
import { randomBytes } from 'node:crypto'
import { systemClock } from '../../../kernel/clock.js'
import { createS3Client, type S3Client, type S3ClientOptions, type S3Place } from '../s3-client.js'

export interface S3Service {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface TestBucket {
  readonly place: S3Place
  readonly client: S3Client
  /** A client that differs in this. */
  connect(other?: Partial<S3ClientOptions>, place?: Partial<S3Place>): S3Client
  /** Names of all objects, and of all uploads that are not complete. */
  list(): Promise<string[]>
}

export async function createTestBucket(service: S3Service, prefix = 'media/'): Promise<TestBucket> {
  const { endpoint, region, accessKeyId, secretAccessKey } = service
  const place: S3Place = { endpoint, region, bucket: `b-${randomBytes(6).toString('hex')}`, prefix, style: 'path' }
  const connect: TestBucket['connect'] = (other, differs) =>
    createS3Client({
      ...{ place: { ...place, ...differs }, accessKeyId, secretAccessKey, clock: systemClock, random: Math.random },
      ...other,
    })
  const client = connect()
  await client.ask({ method: 'PUT' })
  return { place, client, connect, list }

  async function list(): Promise<string[]> {
    const objects = await client.ask({ method: 'GET', query: { 'list-type': '2' } })
    const uploads = await client.ask({ method: 'GET', query: { uploads: '' } })
    return [objects.text, uploads.text].flatMap((xml) =>
      [...xml.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => key ?? ''),
    )
  }
}
