/**
 * A real S3 service for tests that stop, kill, freeze, fill or reconfigure it: OpenStack Swift with its S3 API, from Debian, in
 * one process with a directory of its own. Not a stand-in: signatures, dates, regions, ranges, multipart uploads and their
 * errors are those of a service that runs in production.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe } from 'vitest'
import { requireDebian } from '../debian.js'
import { freePort } from '../launch.js'

export interface S3ServerOptions {
  /** What the service believes to be the secret; another one makes it refuse. */
  readonly secretAccessKey?: string
  /** Whether the disk has no room left. @default false */
  readonly full?: boolean
  readonly tls?: { readonly certificate: string; readonly key: string }
}

export interface S3Server {
  readonly endpoint: string
  readonly port: number
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Starts it again in the same directory and on the same port; what was stored is there. */
  start(options?: S3ServerOptions): Promise<void>
  /** kill -9; nobody answers then. */
  kill(): Promise<void>
  /** It takes connections and does not answer any more, until `thaw`. */
  freeze(): void
  thaw(): void
  /** Ends it and removes what it stored. */
  stop(): Promise<void>
}

const PACKAGES = ['swift-proxy', 'swift-account', 'swift-container', 'swift-object']
const PROGRAM = fileURLToPath(new URL('s3-on-swift.py', import.meta.url))
/** Python and Swift of the Debian packages, whatever else is on the PATH. */
const PYTHON = '/usr/bin/python3'
const REGION = 'us-east-1'
const ACCESS_KEY_ID = 'test:tester'
const SECRET = 'a-secret-of-the-tests'

/** The suite of tests that start a service. Where it is missing and cannot be installed they are skipped by name; with CI=true that is a failure. */
export function describeWithS3(title: string, body: () => void): void {
  const why = problemOfInstallation()
  if (why === undefined) return void describe(title, body)
  if (process.env.CI === 'true') throw new Error(`${title}: ${why}`)
  describe.skip(`${title} (skipped: ${why})`, body)
}

function problemOfInstallation(): string | undefined {
  try {
    requireDebian(PACKAGES)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

export async function startS3(options: S3ServerOptions = {}): Promise<S3Server> {
  requireDebian(PACKAGES)
  const directory = await mkdtemp(join(tmpdir(), 'mirante-s3-'))
  const port = await freePort()
  let running: ChildProcess | undefined
  await start(options)
  return {
    endpoint: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    ...{ port, region: REGION, accessKeyId: ACCESS_KEY_ID, secretAccessKey: SECRET, start, kill },
    freeze: () => void running?.kill('SIGSTOP'),
    thaw: () => void running?.kill('SIGCONT'),
    async stop() {
      await kill()
      await rm(directory, { recursive: true, force: true })
    },
  }

  async function start({ secretAccessKey = SECRET, full = false, tls }: S3ServerOptions = {}): Promise<void> {
    await kill()
    const args = [directory, String(port), ACCESS_KEY_ID, secretAccessKey, REGION, full ? '100' : '0']
    if (tls) args.push(tls.certificate, tls.key)
    const child = spawn(PYTHON, ['-B', PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    running = child
    let errors = ''
    child.stderr.on('data', (data: Buffer) => {
      errors = `${errors}${data}`.slice(-4_000)
    })
    for await (const line of createInterface(child.stdout)) if (line === 'ready') return
    throw new Error(`the S3 service did not start: ${errors}`)
  }

  async function kill(): Promise<void> {
    const child = running
    running = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}
