/** A client of the HTTP API: uploads the file of a message where it has one, then posts it. */
import { Pool } from 'undici'
import { TEST_API_KEY } from '../../test/support/launch.js'
import { createFiles, type SentFile } from '../lib/files.js'
import type { Item } from '../lib/mix.js'

export interface PosterOptions {
  readonly url: string
  readonly instanceId: string
  /** How long it waits for an answer. */
  readonly timeoutMs?: number
}

export interface Poster {
  /** Resolves to the id of its file, or undefined when it has none. Under one key always the same upload. */
  upload(item: Item): Promise<string | undefined>
  /** Resolves to the WhatsApp id. Rejects unless it was accepted. */
  post(item: Item, mediaId: string | undefined): Promise<string>
  close(): Promise<void>
}

const CONNECTIONS = 32

export async function createPoster({ url, instanceId, timeoutMs = 60_000 }: PosterOptions): Promise<Poster> {
  const http = new Pool(url, { connections: CONNECTIONS, headersTimeout: timeoutMs })
  const files = await createFiles()
  return {
    async upload({ content, key }) {
      if (content === 'text') return undefined
      const { type, body } = formOf(files(content, key))
      const answer = await ask(`/api/media?type=${content}`, { type, body, key: `file-${key}` })
      return (answer as { id: string }).id
    },
    async post(item, mediaId) {
      const body = messageBody(instanceId, item, mediaId)
      const answer = await ask('/api/messages', { type: 'application/json', body, key: item.key })
      return (answer as { whatsappId: string }).whatsappId
    },
    close: () => http.close(),
  }

  async function ask(
    path: string,
    request: { readonly type: string; readonly body: string | Buffer; readonly key: string },
  ): Promise<unknown> {
    const { statusCode, body } = await http.request({
      method: 'POST',
      path,
      headers: {
        authorization: `Bearer ${TEST_API_KEY}`,
        'content-type': request.type,
        'idempotency-key': request.key,
      },
      body: request.body,
    })
    const answer = await body.json()
    if (statusCode !== 202 && statusCode !== 201) throw new Error(`${path}: ${statusCode} ${JSON.stringify(answer)}`)
    return answer
  }
}

export function messageBody(instanceId: string, { to, content, words }: Item, mediaId: string | undefined): string {
  const said = content === 'text' ? { body: words } : { mediaId, caption: words }
  return JSON.stringify({ instanceId, to, type: content, [content]: said })
}

const BOUNDARY = 'mirante-bench-boundary'

/** Made by hand: a form of the platform's own would cost the machine more than the route that takes it. */
function formOf({ bytes, mimeType, filename }: SentFile): { readonly type: string; readonly body: Buffer } {
  const head = [
    `--${BOUNDARY}`,
    `content-disposition: form-data; name="file"; filename="${filename}"`,
    `content-type: ${mimeType}`,
    '',
    '',
  ].join('\r\n')
  const body = Buffer.concat([Buffer.from(head), bytes, Buffer.from(`\r\n--${BOUNDARY}--\r\n`)])
  return { type: `multipart/form-data; boundary=${BOUNDARY}`, body }
}
