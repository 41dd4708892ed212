/** Starts the targets of the accept suites: the two yardsticks, and our web role alone, with an instance to write to. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { freePort, launchMirante, TEST_API_KEY } from '../../test/support/launch.js'

export interface AcceptTarget {
  readonly name: string
  readonly port: number
  readonly instanceId: string
  stop(): Promise<void>
}

export async function startLimit(mode: 'none' | 'single', databaseUrl: string): Promise<AcceptTarget> {
  const port = await freePort()
  const script = fileURLToPath(new URL('./accept-limit.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', script, mode, String(port), databaseUrl], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await answers(`http://127.0.0.1:${port}/readyz`)
  return { name: mode, port, instanceId: 'ins_00000000000000000000000000', stop: () => end(child) }
}

/** `command`: a script in place of `serve`, for controls. */
export async function startOurs(
  databaseUrl: string,
  { name = 'us', command }: { readonly name?: string; readonly command?: readonly string[] } = {},
): Promise<AcceptTarget> {
  const mirante = await launchMirante({
    env: { DATABASE_URL: databaseUrl, LOG_LEVEL: 'error' },
    flags: ['--roles=web'],
    ...(command ? { command } : {}),
  })
  const created = await mirante.api('POST', '/api/instances', { body: { name: `bench ${Date.now()}` } })
  if (created.status !== 201) throw new Error(`cannot create an instance: ${JSON.stringify(created.body)}`)
  return {
    name,
    port: Number(new URL(mirante.url).port),
    instanceId: created.body.id as string,
    stop: () => mirante.stop(),
  }
}

const CHATS = 100
let keys = 0

/** Request number n: one of a hundred chats, with a key of its own. */
export const acceptRequest = (target: AcceptTarget) => ({
  path: '/api/messages',
  body: (index: number): string =>
    JSON.stringify({
      instanceId: target.instanceId,
      to: `+55119876${String(10_000 + (index % CHATS))}`,
      type: 'text',
      text: { body: `hello number ${index}` },
    }),
  headers: (): Record<string, string> => ({
    authorization: `Bearer ${TEST_API_KEY}`,
    'idempotency-key': `bench-${process.pid}-${keys++}`,
  }),
})

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
