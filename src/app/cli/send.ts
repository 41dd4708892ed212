import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { EXIT, type ExitCode, UnreachableError } from '../exit-codes.js'
import { type ApiClient, clientFrom } from './api-client.js'

interface Message {
  readonly id: string
  readonly whatsappId: string
  readonly status: string
  readonly error?: { readonly code?: string; readonly detail?: string } | null
}

interface SendArgs {
  readonly instance: string
  readonly number: string
  readonly text: string
  readonly wait?: boolean | undefined
  readonly url?: string | undefined
  readonly key?: string | undefined
  readonly json?: boolean | undefined
}

const WAIT_MS = 60_000
const LOOK_EVERY_MS = 250
const TRIES = 4

export async function send(args: SendArgs): Promise<ExitCode> {
  const client = clientFrom(args)
  const instanceId = await client.instanceId(args.instance)
  const accepted = await submit(client, {
    instanceId,
    to: args.number,
    type: 'text',
    text: { body: args.text },
  })
  const message = args.wait ? await waitUntilSent(client, accepted) : accepted
  process.stdout.write(`${args.json ? JSON.stringify(message) : `${message.id} ${message.status}`}\n`)
  if (message.status !== 'failed') return EXIT.done
  process.stderr.write(`${message.error?.detail ?? message.error?.code ?? 'WhatsApp refused it'}\n`)
  return EXIT.failed
}

/** Once by its key, however often an answer is lost on the way. */
async function submit(client: ApiClient, body: unknown): Promise<Message> {
  const idempotencyKey = randomUUID()
  for (let attempt = 1; ; attempt++) {
    try {
      return await client.post<Message>('/api/messages', body, idempotencyKey)
    } catch (error) {
      if (!(error instanceof UnreachableError) || attempt === TRIES) throw error
      await delay(LOOK_EVERY_MS * attempt)
    }
  }
}

async function waitUntilSent(client: ApiClient, accepted: Message): Promise<Message> {
  let message = accepted
  const deadline = performance.now() + WAIT_MS
  while (message.status === 'queued' || message.status === 'sending') {
    if (performance.now() > deadline)
      throw new Error(`${message.id} is still ${message.status}; Mirante goes on trying.`)
    await delay(LOOK_EVERY_MS)
    message = await client.get<Message>(`/api/messages/${message.id}`)
  }
  return message
}
