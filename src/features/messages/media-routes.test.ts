import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js'
import { eventually } from '../../../test/support/eventually.js'
import { type Answer, createTestServer, type TestServer } from '../../../test/support/http-server.js'
import { systemClock } from '../../kernel/clock.js'
import { createIdGenerator } from '../../kernel/ids.js'
import { createDirectoryStorage } from '../../platform/media/fs.js'
import { jpeg, mp4, pdf, png, program, voiceNote, webp } from '../../platform/media/testing/samples.js'
import { mediaRoutes } from './media-routes.js'

const MAX_BYTES = 4 * 1024 * 1024

let database: TestDatabase
let http: TestServer
let root: string
let key: string

beforeAll(async () => {
  database = await createTestDatabase()
  root = await mkdtemp(join(tmpdir(), 'mirante-media-'))
  const storage = createDirectoryStorage(root)
  const routes = mediaRoutes({
    ...{ db: database.db, ids: createIdGenerator(), clock: systemClock, storage, maxBytes: MAX_BYTES },
  })
  http = await createTestServer({ db: database.db, modules: () => [routes] })
  await http.server.start()
})
beforeEach(async () => {
  key = await http.newKey({ tenantId: await http.newTenant() })
})
afterAll(async () => {
  await http?.stop()
  await database?.drop()
  await rm(root, { recursive: true, force: true })
})

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')
const urlOf = (path: string) => new URL(path, http.server.url)

interface Sent {
  readonly query?: string
  readonly filename?: string
  readonly mimeType?: string
  readonly idempotencyKey?: string
  readonly field?: string
}

async function upload(data: Uint8Array, sent: Sent = {}): Promise<Answer> {
  const { query = '', filename = 'a file', mimeType = '', idempotencyKey, field = 'file' } = sent
  const form = new FormData()
  form.append('messaging_product', 'whatsapp')
  form.append(field, new Blob([new Uint8Array(data)], { type: mimeType }), filename)
  const answer = await fetch(urlOf(`/api/media${query}`), {
    method: 'POST',
    body: form,
    headers: { authorization: `Bearer ${key}`, ...(idempotencyKey && { 'idempotency-key': idempotencyKey }) },
  })
  const text = await answer.text()
  return { status: answer.status, headers: Object.fromEntries(answer.headers), text, json: JSON.parse(text) }
}

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(urlOf(path), { headers: { authorization: `Bearer ${key}`, ...headers } })

async function storedFiles(): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
}

async function expectNothingNew(work: () => Promise<unknown>): Promise<void> {
  const files = await storedFiles()
  const rows = await database.db.query(sql`select id from media order by id`)
  await work()
  expect((await storedFiles()).sort()).toEqual(files.sort())
  expect(await database.db.query(sql`select id from media order by id`)).toEqual(rows)
}

describe('an upload', () => {
  it('is stored and told: what it is, its size and its SHA-256', async () => {
    const data = await jpeg(640, 400)
    const { status, json } = await upload(data, { filename: 'féria.jpg', mimeType: 'image/jpeg' })
    expect(status).toBe(201)
    expect(json).toMatchObject({
      id: expect.stringMatching(/^med_/),
      state: 'stored',
      direction: 'outbound',
      mimeType: 'image/jpeg',
      size: data.length,
      sha256: sha256(data),
      filename: 'féria.jpg',
      width: 640,
      height: 400,
      links: { content: `/api/media/${json.id}` },
    })
    expect(await (await get(`/api/media/${json.id}/info`)).json()).toEqual(json)
    expect(sha256(new Uint8Array(await (await get(`/api/media/${json.id}`)).arrayBuffer()))).toBe(sha256(data))
  })

  it.each([
    ['image', png, 'image/png'],
    ['video', mp4, 'video/mp4'],
    ['audio', () => voiceNote([20, 60, 90, 20]), 'audio/ogg; codecs=opus'],
    ['document', pdf, 'application/pdf'],
    ['document', () => randomBytes(3_000), 'application/octet-stream'],
    ['sticker', webp, 'image/webp'],
  ])('as %s: %#', async (type, make, mimeType) => {
    const data = await make()
    const { status, json } = await upload(data, { query: `?type=${type}` })
    expect(json).toMatchObject({ type, mimeType, sha256: sha256(data) })
    expect(status).toBe(201)
  })

  it('of a slip of the tongue is corrected', async () => {
    expect((await upload(await png(), { mimeType: 'image/jpeg' })).json.mimeType).toBe('image/png')
  })

  it('with a name that leads elsewhere keeps its last part', async () => {
    expect((await upload(pdf(), { filename: '../../etc/passwd' })).json.filename).toBe('passwd')
  })
})

describe('an upload is refused, and leaves nothing behind,', () => {
  const big = Buffer.concat([pdf(), randomBytes(MAX_BYTES)])
  it.each<[string, () => Promise<Answer>, object]>([
    [
      'a program called a picture',
      async () => upload(program(), { mimeType: 'image/png' }),
      { status: 415, code: 'media_type_refused' },
    ],
    [
      'a page called a picture',
      () => upload(Buffer.from('<html>'), { mimeType: 'image/jpeg' }),
      { status: 415, code: 'media_type_refused' },
    ],
    ['a PDF as a picture', () => upload(pdf(), { query: '?type=image' }), { status: 415, code: 'media_type_refused' }],
    [
      'a JPEG as a sticker',
      async () => upload(await jpeg(), { query: '?type=sticker' }),
      { status: 415, code: 'media_type_refused' },
    ],
    [
      'more than our limit',
      () => upload(big),
      { status: 413, code: 'media_too_large', detail: `The limit is ${MAX_BYTES} bytes.` },
    ],
    [
      'more than the limit of its type',
      async () => upload(Buffer.concat([await webp(), Buffer.alloc(600_000)]), { query: '?type=sticker' }),
      { status: 413, code: 'media_too_large' },
    ],
    ['nothing', () => upload(Buffer.of()), { status: 400, code: 'media_empty' }],
    [
      'another field',
      () => upload(pdf(), { field: 'data' }),
      { status: 400, code: 'invalid_request', errors: [{ pointer: '/file' }] },
    ],
    ['an unknown type', () => upload(pdf(), { query: '?type=hologram' }), { status: 400, code: 'invalid_request' }],
    ['JSON', () => http.ask('POST', '/api/media', { key, body: {} }), { status: 400, code: 'invalid_request' }],
    [
      'a form without a boundary',
      () => http.ask('POST', '/api/media', { key, body: 'x', headers: { 'content-type': 'multipart/form-data' } }),
      { status: 400, code: 'invalid_request' },
    ],
  ])('%s', async (_name, ask, expected) => {
    await expectNothingNew(async () => expect((await ask()).json).toMatchObject(expected))
  })

  it('what is too large, though it did not say so beforehand', async () => {
    await expectNothingNew(async () => {
      const answer = await rawUpload((send, end) => {
        send(part('big.bin'))
        for (let sent = 0; sent <= MAX_BYTES; sent += 65_536) send(Buffer.alloc(65_536, 7))
        send(`\r\n--x--\r\n`)
        end()
      })
      expect(answer).toMatch(/"code":"media_too_large"/)
    })
  })

  it.each([
    ['without the end of its form', Buffer.from('%PDF-1.4 half')],
    ['in the middle of the head', Buffer.of()],
  ])('what ends too early: %s', async (_name, content) => {
    await expectNothingNew(async () => {
      const answer = await rawUpload((send, end) => {
        send(part('half.pdf'))
        send(content)
        end()
      })
      expect(answer).toMatch(/"code":"upload_truncated"/)
    })
  })

  it('what breaks off', async () => {
    await expectNothingNew(async () => {
      await rawUpload((send, _end, breakOff) => {
        send(part('half.bin'))
        send(randomBytes(200_000))
        setImmediate(breakOff)
      }).catch(() => undefined)
      await eventually(
        async () => (await storedFiles()).every((name) => !/^[0-9a-f-]{36}$/.test(name) || name[14] !== '4'),
        'drafts to go',
      )
    })
  })

  it('a form elsewhere', async () => {
    const form = new FormData()
    form.append('file', 'x')
    const answer = await fetch(urlOf('/api/media/med_01HWP5WYHVFH6RWQRJ6HB7H40J'), {
      method: 'DELETE',
      body: form,
      headers: { authorization: `Bearer ${key}` },
    })
    expect(answer.status).toBe(415)
  })
})

const part = (filename: string) =>
  `--x\r\ncontent-disposition: form-data; name="file"; filename="${filename}"\r\ncontent-type: application/octet-stream\r\n\r\n`

/** A form written by hand, without a length. Resolves to the answer's body. */
function rawUpload(
  write: (send: (data: string | Buffer) => void, end: () => void, breakOff: () => void) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      urlOf('/api/media'),
      {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'multipart/form-data; boundary=x' },
      },
      (answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        answer.on('end', () => resolve(text))
      },
    )
    request.on('error', reject)
    write(
      (data) => void request.write(data),
      () => void request.end(),
      () => void request.destroy(),
    )
  })
}

describe('under an idempotency key', () => {
  it('the same file is the same upload, stored once', async () => {
    const data = randomBytes(10_000)
    const first = await upload(data, { idempotencyKey: 'k1' })
    const files = await storedFiles()
    const second = await upload(data, { idempotencyKey: 'k1' })
    expect(second).toMatchObject({ status: 201, json: first.json })
    expect(second.headers['idempotent-replayed']).toBe('true')
    expect(await storedFiles()).toEqual(files)
  })

  it('another file is refused', async () => {
    await upload(randomBytes(100), { idempotencyKey: 'k2' })
    await expectNothingNew(async () =>
      expect((await upload(randomBytes(100), { idempotencyKey: 'k2' })).json.code).toBe('idempotency_key_reused'),
    )
  })
})

describe('a download', () => {
  const data = Buffer.concat([pdf(), randomBytes(100_000)])
  let path = ''
  beforeEach(async () => {
    path = `/api/media/${(await upload(data, { filename: 'Relatório "1".pdf' })).json.id}`
  })

  it('says what it is and may not be run', async () => {
    const answer = await get(path)
    await answer.body?.cancel()
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'application/pdf',
      'content-length': String(data.length),
      'content-disposition': `attachment; filename="Relat_rio _1_.pdf"; filename*=UTF-8''Relat%C3%B3rio%20%221%22.pdf`,
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining('sandbox'),
      'accept-ranges': 'bytes',
      etag: `"${sha256(data)}"`,
    })
  })

  it.each([
    ['bytes=0-99', 206, [0, 100]],
    ['bytes=100-', 206, [100, data.length]],
    ['bytes=-10', 206, [data.length - 10, data.length]],
    ['bytes=5-99999999', 206, [5, data.length]],
    ['bytes=0-1,5-9', 200, [0, data.length]],
    ['lines=1-2', 200, [0, data.length]],
    ['bytes=9-1', 200, [0, data.length]],
  ] as const)('of a range: %s', async (range, status, [start, end]) => {
    const answer = await get(path, { range })
    expect(answer.status).toBe(status)
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(data.subarray(start, end))
    expect(answer.headers.get('content-range')).toBe(status === 206 ? `bytes ${start}-${end - 1}/${data.length}` : null)
  })

  it('of a range that it has not is a 416, of a range of another version the whole', async () => {
    const beyond = await get(path, { range: 'bytes=200000-' })
    expect(beyond.status).toBe(416)
    expect(beyond.headers.get('content-range')).toBe(`bytes */${data.length}`)
    expect(await beyond.json()).toMatchObject({ code: 'range_not_satisfiable' })
    expect((await get(path, { range: 'bytes=0-1', 'if-range': '"other"' })).status).toBe(200)
  })

  it('is not repeated for who has it, and its head is its head', async () => {
    expect((await get(path, { 'if-none-match': `"${sha256(data)}"` })).status).toBe(304)
    const head = await fetch(urlOf(path), { method: 'HEAD', headers: { authorization: `Bearer ${key}` } })
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(data.length)])
  })

  it('is of its tenant only', async () => {
    key = await http.newKey({ tenantId: await http.newTenant() })
    expect((await get(path)).status).toBe(404)
    expect((await get(`${path}/info`)).status).toBe(404)
    expect((await http.ask('DELETE', path, { key })).status).toBe(404)
  })

  it('of what has not arrived says so, of what will not come why', async () => {
    await database.db.execute(sql`update media set state = 'pending'`)
    expect(await (await get(path)).json()).toMatchObject({ status: 409, code: 'media_pending', retryAfter: 2 })
    await database.db.execute(sql`update media set state = 'failed', error_code = 'media_expired'`)
    expect(await (await get(path)).json()).toMatchObject({
      status: 410,
      code: 'media_unavailable',
      detail: 'The reason: media_expired.',
    })
    await database.db.execute(sql`update media set state = 'stored', error_code = null`)
  })

  it('of what is deleted is a 404, and its bytes are gone', async () => {
    const before = (await storedFiles()).length
    expect((await http.ask('DELETE', path, { key })).status).toBe(204)
    expect((await get(path)).status).toBe(404)
    expect((await storedFiles()).length).toBe(before - 1)
  })
})

it('a directory gives no links', async () => {
  const { json } = await upload(await png())
  const answer = await get(`/api/media/${json.id}/url`)
  expect(answer.status).toBe(409)
  expect(await answer.json()).toMatchObject({ code: 'media_url_unsupported' })
})
