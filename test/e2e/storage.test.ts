/** The bucket is stopped under a running Mirante: what waits, what is told, and that nothing is lost. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestBucket } from '../../src/platform/media/testing/s3-bucket.js'
import { jpeg, pdf } from '../../src/platform/media/testing/samples.js'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import {
  launchMirante,
  launchSimulator,
  type MiranteProcess,
  type SimulatorProcess,
  TEST_API_KEY,
} from '../support/launch.js'
import { pairByQr } from '../support/pair.js'
import { describeWithS3, type S3Server, startS3 } from '../support/servers/s3.js'

const ACCOUNT = '5511999990001'
const ANA = '5511955550001'
const BIA = '5511955550002'
const authorization = `Bearer ${TEST_API_KEY}`

// biome-ignore lint/suspicious/noExplicitAny: each content has its own shape
type Any = any // oxlint-disable-line typescript/no-explicit-any

describeWithS3('a bucket that is stopped', () => {
  let database: Awaited<ReturnType<typeof createEmptyDatabase>>
  let s3: S3Server
  let simulator: SimulatorProcess
  let mirante: MiranteProcess
  let instanceId: string
  let directory: string
  let links: Server

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mirante-storage-e2e-'))
    database = await createEmptyDatabase()
    s3 = await startS3()
    const { place } = await createTestBucket(s3)
    const caFile = join(directory, 'ca.pem')
    simulator = await launchSimulator(['--latency-ms', '5', '--ca-file', caFile])
    const env = {
      DATABASE_URL: database.url,
      LOG_LEVEL: 'error',
      WHATSAPP_CA_FILE: caFile,
      EGRESS_ALLOW: '127.0.0.0/8',
      STORAGE_URL: `s3://${place.bucket}/media?endpoint=${s3.endpoint}`,
      S3_ACCESS_KEY_ID: s3.accessKeyId,
      S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
    }
    mirante = await launchMirante({ simulator, env })
    await simulator.admin('POST', '/admin/contacts', { phones: [ANA, BIA], receipts: 'delivered' })
    instanceId = await pairByQr(mirante, simulator, 'media', ACCOUNT)
    links = createServer((_request, answer) => void answer.end(pdf())).listen(0, '127.0.0.1')
    await once(links, 'listening')
  }, 240_000)
  afterAll(async () => {
    await mirante?.stop()
    await simulator?.stop()
    await s3?.stop()
    await database?.drop()
    links?.closeAllConnections()
    links?.close()
    rmSync(directory, { recursive: true, force: true })
  })

  const upload = async (data: Buffer): Promise<Response> => {
    const form = new FormData()
    form.append('file', new Blob([new Uint8Array(data)]), 'file')
    return fetch(`${mirante.url}/api/media`, { method: 'POST', body: form, headers: { authorization } })
  }
  const send = async (to: string, content: object): Promise<string> => {
    const { status, body } = await mirante.api('POST', '/api/messages', {
      body: { instanceId, to: `+${to}`, ...content },
    })
    expect(status).toBe(202)
    return body.id
  }
  const message = async (id: string): Promise<Any> => (await mirante.api('GET', `/api/messages/${id}`)).body
  const cluster = async (): Promise<Any> =>
    (await mirante.api('GET', '/api/cluster')).body.dependencies.find(({ name }: Any) => name === 'storage')

  it('answers 503, holds what needs it, lets the rest pass, and loses nothing', async () => {
    const uploaded = (await (await upload(await jpeg(300, 200))).json()) as Any
    expect(await cluster()).toMatchObject({ status: 'up' })

    await s3.kill()
    const refused = await upload(await jpeg(100, 100))
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('5')
    expect(await refused.json()).toMatchObject({ code: 'storage_unavailable' })
    expect((await fetch(`${mirante.url}/api/media/${uploaded.id}`, { headers: { authorization } })).status).toBe(503)
    expect((await fetch(`${mirante.url}/readyz`)).status).toBe(200)

    const byUpload = await send(ANA, { type: 'image', image: { mediaId: uploaded.id } })
    const link = `http://127.0.0.1:${(links.address() as AddressInfo).port}/a.pdf`
    const byLink = await send(BIA, { type: 'document', document: { link } })
    const text = await send(BIA, { type: 'text', text: { body: 'passes' } })
    const media = { type: 'document', base64: pdf().toString('base64') }
    await simulator.admin('POST', `/admin/contacts/${ANA}/send`, { to: ACCOUNT, media })
    await eventually(async () => (await message(text)).status === 'delivered', 'a text passes')
    await eventually(async () => (await message(byUpload)).holdReason === 'storage', 'its file cannot be read')
    expect((await message(byUpload)).status).toBe('queued')
    expect(await message(byLink)).toMatchObject({ status: 'queued', holdReason: 'media' })
    const inbound = async (): Promise<Any> =>
      (await mirante.api('GET', `/api/messages?instanceId=${instanceId}&limit=50`)).body.data.find(
        ({ direction }: Any) => direction === 'inbound',
      )
    await eventually(async () => (await inbound())?.media?.state === 'pending', 'the file that came in waits')
    await eventually(async () => (await cluster()).status === 'down', 'the dependency is told of')

    await s3.start()
    for (const id of [byUpload, byLink]) {
      await eventually(async () => (await message(id)).status === 'delivered', `${id} is delivered`)
    }
    await eventually(async () => (await inbound()).media.state === 'stored', 'the file that came in is stored')
    expect((await message(byUpload)).error).toBeNull()
    expect((await upload(await jpeg(100, 100))).status).toBe(201)
    const { body } = await mirante.api('GET', `/api/media/${(await inbound()).media.id}/url`)
    const answer = await fetch(body.url)
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(pdf())
    expect(answer.headers.get('content-disposition')).toMatch(/^attachment/)
  }, 240_000)
})
