/** Starts the targets of the accept suites: the two yardsticks, and our web role alone, with an instance to write to. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { freePort, launchMirante, TEST_API_KEY } from '../../test/support/launch.js'
import { GROUPS, itemAt, type Mix, partAt, type Recipients } from '../lib/mix.js'
import { createPoster, messageBody } from './poster.js'

export interface AcceptTarget {
  readonly name: string
  readonly port: number
  readonly instanceId: string
  readonly mix: Mix
  /** Files that were uploaded before: the id of one for message number `index`, if it has any. */
  mediaIdAt(index: number): string | undefined
  stop(): Promise<void>
}

/** The yardsticks look at no file: they take any id of one. */
export async function startLimit(mode: 'none' | 'single', mix: Mix, databaseUrl: string): Promise<AcceptTarget> {
  const port = await freePort()
  const script = fileURLToPath(new URL('./accept-limit.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', script, mode, String(port), databaseUrl], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await answers(`http://127.0.0.1:${port}/readyz`)
  return {
    ...{ name: mode, port, mix },
    instanceId: 'ins_00000000000000000000000000',
    mediaIdAt: (index) => (partAt(mix, index).content === 'text' ? undefined : 'med_00000000000000000000000000'),
    stop: () => end(child),
  }
}

/** `command`: a script in place of `serve`, for controls. */
export async function startOurs(
  databaseUrl: string,
  { name = 'us', mix, command }: { readonly name?: string; readonly mix: Mix; readonly command?: readonly string[] },
): Promise<AcceptTarget> {
  const mirante = await launchMirante({
    // Nothing is sent here, so all that is accepted waits.
    env: { DATABASE_URL: databaseUrl, LOG_LEVEL: 'error', MAX_WAITING_PER_INSTANCE: '100000000' },
    flags: ['--roles=web'],
    ...(command ? { command } : {}),
  })
  const created = await mirante.api('POST', '/api/instances', { body: { name: `bench ${Date.now()}` } })
  if (created.status !== 201) throw new Error(`cannot create an instance: ${JSON.stringify(created.body)}`)
  const instanceId = created.body.id as string
  const files = await uploadFiles(mirante.url, instanceId, mix)
  return {
    ...{ name, mix, instanceId },
    port: Number(new URL(mirante.url).port),
    mediaIdAt: (index) => files[index % files.length],
    stop: () => mirante.stop(),
  }
}

const CHATS = 100
/** The slots of the mix, a few times: one file for each message with one. */
const FILES = 100

const recipientsOf = (mix: Mix): Recipients => ({
  mix,
  phones: Array.from({ length: CHATS }, (_, n) => `+55119876${String(10_000 + n)}`),
  groups: Array.from({ length: GROUPS }, (_, n) => `1203630000000${String(10_000 + n)}@g.us`),
})

/** By the number of the message, FILES of them; nothing where a message has no file. */
async function uploadFiles(url: string, instanceId: string, mix: Mix): Promise<(string | undefined)[]> {
  const poster = await createPoster({ url, instanceId })
  const recipients = recipientsOf(mix)
  const uploaded: (string | undefined)[] = []
  for (let index = 0; index < FILES; index++) uploaded.push(await poster.upload(itemAt(recipients, 'accept', index)))
  await poster.close()
  return uploaded
}

let keys = 0

/** Message number n of the mix, with a key of its own. */
export function acceptRequest(target: AcceptTarget) {
  const recipients = recipientsOf(target.mix)
  return {
    path: '/api/messages',
    body: (index: number): string =>
      messageBody(target.instanceId, itemAt(recipients, 'number', index), target.mediaIdAt(index)),
    headers: (): Record<string, string> => ({
      authorization: `Bearer ${TEST_API_KEY}`,
      'idempotency-key': `bench-${process.pid}-${keys++}`,
    }),
  }
}

async function answers(url: string): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    const answer = await fetch(url).catch(() => undefined)
    if (answer?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${url} does not answer`)
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}
