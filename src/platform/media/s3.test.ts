import { execFile, execFileSync } from 'node:child_process'
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import type { LookupFunction } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../../../test/support/eventually.js'
import { describeWithS3, type S3Server, startS3 } from '../../../test/support/servers/s3.js'
import { systemClock } from '../../kernel/clock.js'
import { mediaContract } from './media.contract.js'
import { createS3Storage } from './s3.js'
import { createS3Dependency } from './s3-dependency.js'
import { createTestBucket, type TestBucket } from './testing/s3-bucket.js'

const MB = 1024 * 1024
const KEY = 'tenant/0190-media'
const one = (data: Uint8Array) => Readable.from([data])

describeWithS3('media in a bucket', () => {
  let server: S3Server
  let bucket: TestBucket
  beforeAll(async () => {
    server = await startS3()
  }, 180_000)
  afterAll(() => server?.stop())

  const create = async (partBytes?: number) => {
    bucket = await createTestBucket(server)
    return createS3Storage({ clock: systemClock, client: bucket.client, ...(partBytes && { partBytes }) })
  }

  describe.each([
    ['of which each fits into one request', undefined],
    ['of many parts', 64 * 1024],
  ])('with files %s', (_name, partBytes) => {
    mediaContract({ create: () => create(partBytes), list: () => bucket.list() })
  })

  it.each([
    ['exactly one part', 128 * 1024],
    ['exactly two parts', 256 * 1024],
  ])('a file of %s is stored', async (_name, size) => {
    const storage = await create(128 * 1024)
    const data = randomBytes(size)
    expect(await storage.put(KEY, one(data))).toMatchObject({ size })
    expect(await buffer(await storage.open(KEY))).toEqual(data)
  })

  it('a large file passes in parts: neither writing nor reading it fills the memory', async () => {
    const storage = await create()
    const piece = randomBytes(64 * 1024)
    const pieces = (100 * MB) / piece.length
    const before = process.memoryUsage()
    let peak = 0
    const watch = () => {
      const { rss, arrayBuffers, external } = process.memoryUsage()
      peak = Math.max(peak, rss - before.rss, arrayBuffers + external - before.arrayBuffers - before.external)
    }
    const written = createHash('sha256')
    async function* content(): AsyncGenerator<Buffer> {
      for (let at = 0; at < pieces; at++) {
        piece.writeUInt32BE(at)
        written.update(piece)
        watch()
        yield piece
      }
    }
    const stored = await storage.put(KEY, content())
    const read = createHash('sha256')
    for await (const chunk of await storage.open(KEY)) {
      read.update(chunk as Buffer)
      watch()
    }
    expect(stored).toMatchObject({ size: 100 * MB, sha256: written.digest() })
    expect(read.digest()).toEqual(stored.sha256)
    process.stdout.write(`100 MB through the storage: at most ${Math.round(peak / MB)} MB more memory\n`)
    // Garbage that is not collected yet included: it is less than the file.
    expect(peak).toBeLessThan(90 * MB)
  }, 120_000)

  it('uploads that a dead process left are removed, those of a living one are not', async () => {
    bucket = await createTestBucket(server)
    const ours = `${randomUUID()}/${randomUUID()}`
    for (const key of ['another/abandoned', ours]) {
      await bucket.client.ask({ method: 'POST', key, query: { uploads: '' } })
    }
    await createS3Storage({ clock: systemClock, client: bucket.client }).put('tenant/a', one(Buffer.from('x')))
    const tomorrow = { now: () => Date.now() + 25 * 3_600_000 }
    expect(await bucket.list()).toContain(`media/${ours}`)
    await createS3Storage({ clock: tomorrow, client: bucket.client }).put('tenant/b', one(Buffer.from('x')))
    const isGone = async () => !(await bucket.list()).includes(`media/${ours}`)
    await eventually(isGone, 'the abandoned upload is removed')
    expect(await bucket.list()).toContain('media/another/abandoned')
  })

  it('more large files than may be put at once wait for each other, and small ones for none', async () => {
    bucket = await createTestBucket(server)
    const storage = createS3Storage({ clock: systemClock, client: bucket.client, largeAtOnce: 1 })
    let goOn = (): void => {}
    const held = new Promise<void>((resolve) => {
      goOn = resolve
    })
    async function* slow(): AsyncGenerator<Buffer> {
      yield randomBytes(2 * MB)
      await held
    }
    const first = storage.put('a', slow())
    const second = storage.put('b', one(randomBytes(2 * MB)))
    await storage.put('c', one(randomBytes(1_000)))
    expect(await storage.exists('b')).toBe(false)
    goOn()
    await Promise.all([first, second])
    expect(await storage.exists('b')).toBe(true)
  })

  it('the URL of a file serves it to anybody, as an attachment of the type that was said, and no other file', async () => {
    const storage = await create()
    await storage.put(KEY, one(Buffer.from('<script>')))
    const about = {
      key: KEY,
      filename: 'naïve "menu".html',
      mimeType: 'application/octet-stream',
      expiresInSeconds: 60,
    }
    const url = (await storage.link?.(about)) ?? ''
    const answer = await fetch(url)
    expect(await answer.text()).toBe('<script>')
    expect(answer.headers.get('content-type')).toBe('application/octet-stream')
    expect(answer.headers.get('content-disposition')).toBe(`attachment; filename*=UTF-8''na%C3%AFve%20%22menu%22.html`)
    expect(url).not.toContain(server.secretAccessKey)
    for (const changed of [
      url.replace('0190-media', '0190-other'),
      url.replace('X-Amz-Expires=60', 'X-Amz-Expires=600'),
    ])
      expect((await fetch(changed)).status).toBe(403)
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(403)
  })

  it('a URL that is too old serves nothing', async () => {
    await (await create()).put(KEY, one(Buffer.from('x')))
    const clock = { ...systemClock, now: () => Date.now() - 120_000 }
    const late = createS3Storage({ clock: systemClock, client: bucket.connect({ clock }) })
    const about = { key: KEY, filename: 'x', mimeType: 'text/plain', expiresInSeconds: 60 }
    expect((await fetch((await late.link?.(about)) ?? '')).status).toBe(403)
  })

  it('a URL names the service as others find it', async () => {
    await create()
    const abroad = bucket.connect({}, { publicEndpoint: 'https://files.example' })
    const storage = createS3Storage({ clock: systemClock, client: abroad })
    const about = { key: KEY, filename: 'x', mimeType: 'text/plain', expiresInSeconds: 60 }
    const { origin, pathname } = new URL((await storage.link?.(about)) ?? '')
    expect([origin, pathname]).toEqual(['https://files.example', `/${bucket.place.bucket}/media/${KEY}`])
  })

  it('a bucket is found as the host of its own name', async () => {
    const storage = await create()
    await storage.put(KEY, one(Buffer.from('by path')))
    const endpoint = `http://localhost:${server.port}`
    const names: string[] = []
    const lookup: LookupFunction = (name, _options, answer) => {
      names.push(name)
      answer(null, [{ address: '127.0.0.1', family: 4 }])
    }
    const byHost = createS3Storage({
      clock: systemClock,
      client: bucket.connect({ lookup }, { style: 'host', endpoint }),
    })
    expect(await buffer(await byHost.open(KEY))).toEqual(Buffer.from('by path'))
    expect(names).toEqual([`${bucket.place.bucket}.localhost`])
  })
})

describeWithS3('a service that is not as it should be', () => {
  let server: S3Server
  let bucket: TestBucket
  beforeAll(async () => {
    server = await startS3()
    bucket = await createTestBucket(server)
  }, 180_000)
  afterAll(() => server?.stop())
  beforeEach(() => server.start())
  const quick = { connectMs: 500, idleMs: 500, retryForMs: 500 }
  const client = () => bucket.connect({ limits: quick })
  const storage = () => createS3Storage({ clock: systemClock, client: client(), partBytes: 128 * 1024 })
  const check = (of = client()) => createS3Dependency({ client: of, clock: systemClock }).check()

  it('is up when all is well, and says so', async () => {
    expect(await check()).toMatchObject({ name: 'storage', status: 'up', meanwhile: null, problems: [] })
  })

  it('that was killed is down: nothing is missing, nothing is stored; started again it has all that was stored', async () => {
    await storage().put(KEY, one(Buffer.from('before')))
    await server.kill()
    await expect(storage().put('tenant/other', one(randomBytes(1_000)))).rejects.toMatchObject({ code: 'failed' })
    await expect(storage().open(KEY)).rejects.toMatchObject({ code: 'failed' })
    await expect(storage().exists(KEY)).rejects.toMatchObject({ code: 'failed' })
    expect(await check()).toMatchObject({ status: 'down', problems: [{ code: 'unreachable' }] })
    await server.start()
    expect(await buffer(await storage().open(KEY))).toEqual(Buffer.from('before'))
    expect(await check()).toMatchObject({ status: 'up' })
  })

  it('that comes back in time is waited for', async () => {
    await server.kill()
    let waits = 0
    const clock = {
      ...systemClock,
      async sleep() {
        waits += 1
        await server.start()
      },
    }
    const limits = { retryForMs: 60_000 }
    const patient = createS3Storage({ clock: systemClock, client: bucket.connect({ clock, limits }) })
    await patient.put(KEY, one(Buffer.from('late')))
    expect(waits).toBeGreaterThan(0)
    expect(await buffer(await patient.open(KEY))).toEqual(Buffer.from('late'))
  })

  it('that is killed in the middle of a large file leaves nothing of it to be seen', async () => {
    async function* content(): AsyncGenerator<Buffer> {
      yield randomBytes(300 * 1024)
      await server.kill()
      yield randomBytes(300 * 1024)
    }
    await expect(storage().put('tenant/half', content())).rejects.toMatchObject({ code: 'failed' })
    await server.start()
    expect(await storage().exists('tenant/half')).toBe(false)
    await expect(storage().open('tenant/half')).rejects.toMatchObject({ code: 'missing' })
  })

  it('that takes connections and says nothing is given up after its time', async () => {
    server.freeze()
    try {
      await expect(storage().put(KEY, one(Buffer.from('x')))).rejects.toMatchObject({ code: 'failed' })
      expect(await check()).toMatchObject({ status: 'down', problems: [{ code: 'unreachable' }] })
    } finally {
      server.thaw()
    }
  })

  it('that refuses the credentials is told as such, and no file counts as missing', async () => {
    await server.start({ secretAccessKey: 'another secret' })
    await expect(storage().put(KEY, one(Buffer.from('x')))).rejects.toMatchObject({ code: 'failed' })
    await expect(storage().open(KEY)).rejects.toMatchObject({ code: 'failed' })
    const report = await check()
    expect(report).toMatchObject({ status: 'degraded', problems: [{ code: 'refused' }] })
    expect(JSON.stringify(report)).not.toContain(server.secretAccessKey)
  })

  it('that has no room left takes nothing, and takes again when it has', async () => {
    await server.start({ full: true })
    await expect(storage().put('tenant/full', one(randomBytes(1_000)))).rejects.toMatchObject({ name: 'StorageError' })
    expect((await check()).status).toBe('degraded')
    await server.start()
    expect(await storage().exists('tenant/full')).toBe(false)
    await storage().put('tenant/full', one(randomBytes(1_000)))
  })

  it('whose bucket is gone: no file counts as missing', async () => {
    const lost = bucket.connect({ limits: quick }, { bucket: 'no-such-bucket' })
    const nowhere = createS3Storage({ clock: systemClock, client: lost })
    await expect(nowhere.open(KEY)).rejects.toMatchObject({ code: 'failed' })
    await expect(nowhere.exists(KEY)).rejects.toMatchObject({ code: 'failed' })
    await expect(nowhere.put(KEY, one(Buffer.from('x')))).rejects.toMatchObject({ code: 'failed' })
    expect(await check(lost)).toMatchObject({ status: 'degraded', problems: [{ code: 'bucket_missing' }] })
  })

  it('whose certificate nobody vouches for gets no request, until its authority is known', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'mirante-s3-tls-'))
    const tls = { certificate: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
    const make = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', ...subject]
    execFileSync('openssl', [...make, '-keyout', tls.key, '-out', tls.certificate], { stdio: 'ignore' })
    try {
      await server.start({ tls })
      const endpoint = server.endpoint.replace('http:', 'https:')
      const secure = bucket.connect({ limits: quick }, { endpoint })
      await expect(createS3Storage({ clock: systemClock, client: secure }).exists(KEY)).rejects.toMatchObject({
        code: 'failed',
      })
      expect(await check(secure)).toMatchObject({ status: 'down', problems: [{ code: 'tls' }] })
      // Node reads its authorities once, when it starts.
      const program = fileURLToPath(new URL('./testing/check-bucket.ts', import.meta.url))
      const place = JSON.stringify({ ...bucket.place, endpoint })
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--import', 'tsx', program, place, server.accessKeyId, server.secretAccessKey],
        { env: { ...process.env, NODE_EXTRA_CA_CERTS: tls.certificate } },
      )
      expect(JSON.parse(stdout)).toMatchObject({ status: 'up', problems: [] })
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })

  it('in another region tells which', async () => {
    const abroad = bucket.connect({ limits: quick }, { region: 'sa-east-1' })
    expect(await check(abroad)).toMatchObject({
      problems: [{ code: 'wrong_region', found: expect.stringContaining('us-east-1') }],
    })
  })

  it('whose clock differs tells by how much', async () => {
    const clock = { ...systemClock, now: () => Date.now() + 3_600_000 }
    const early = bucket.connect({ clock, limits: quick })
    expect(await createS3Dependency({ client: early, clock }).check()).toMatchObject({
      problems: [{ code: 'clock_skew', found: expect.stringMatching(/ 3[56]\d\d seconds/) }],
    })
  })
})
