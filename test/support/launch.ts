/** Starts the built product and the simulator as processes of their own, for what must survive kill -9. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { commandLine, signalProcess, treeOf } from './process-tree.js'

const dist = (path: string): string => fileURLToPath(new URL(`../../dist/${path}`, import.meta.url))

/** An admin key for tests; any string of 32 characters or more may be one. */
export const TEST_API_KEY = 'an-admin-key-for-tests-and-benchmarks-only'

export interface SimulatorProcess {
  readonly httpUrl: string
  readonly wsUrl: string
  readonly rootPublicKeyHex: string
  /** What its media host shows; who uploads or downloads must trust it. */
  readonly caPem: string
  readonly pid: number
  admin<Answer>(method: string, path: string, body?: unknown): Promise<Answer>
  stop(): Promise<void>
}

/** Strict: whatever it does not know it refuses, and its end fails the test in which that was asked. */
export async function launchSimulator(flags: readonly string[] = []): Promise<SimulatorProcess> {
  const child = spawn(process.execPath, [dist('simulator/main.js'), '--port', '0', '--json', '--strict', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ready = JSON.parse(await firstLine(child)) as Omit<SimulatorProcess, 'admin' | 'stop' | 'pid'>
  return { ...ready, pid: child.pid ?? 0, admin, stop }

  async function stop(): Promise<void> {
    const asked = isAlive(child) ? await admin<{ unknown: readonly unknown[] }>('GET', '/admin/unknown') : undefined
    await end(child, 'SIGTERM')
    if (asked && asked.unknown.length > 0) {
      throw new Error(`the simulator does not know ${JSON.stringify(asked.unknown.slice(0, 5))}`)
    }
  }

  async function admin<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await fetch(`${ready.httpUrl}${path}`, {
      method,
      body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path} → ${answer.status} ${text}`)
    return JSON.parse(text) as Answer
  }
}

export type KillTarget = 'gateway' | 'web' | 'supervisor' | 'postgres'

export interface MiranteProcess {
  readonly url: string
  readonly directory: string
  readonly pid: number
  /** The process itself has not ended. */
  readonly alive: boolean
  /** The process of a kind; undefined when there is none at this moment. */
  pidOf(target: KillTarget): number | undefined
  /** kill -9 of one process. False when there is none of that kind at this moment. */
  kill(target: KillTarget): boolean
  /** kill -9 of all of them. */
  killAll(): void
  /** Starts again what was killed, on the same data and port. Resolves when it answers /readyz. */
  restart(): Promise<void>
  ready(timeoutMs?: number): Promise<void>
  /** One API call; rejects when there is no answer. */
  api(method: string, path: string, options?: ApiOptions): Promise<ApiAnswer>
  stop(): Promise<void>
}

export interface ApiOptions {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
}

export interface ApiAnswer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly body: any
}

/** Where a process runs when it is not beside the test: what is put before its command, and the address it listens on. */
export interface Place {
  readonly prefix: readonly string[]
  readonly host: string
}

export interface MiranteOptions {
  readonly simulator?: Pick<SimulatorProcess, 'wsUrl' | 'rootPublicKeyHex'>
  readonly env?: Readonly<Record<string, string>>
  readonly flags?: readonly string[]
  /** Kept after `stop` when given; else a temporary one. */
  readonly directory?: string
  /** What to run in place of `serve`: the path of a script and its arguments. */
  readonly command?: readonly string[]
  readonly output?: 'inherit' | 'ignore'
  readonly place?: Place
}

const HERE: Place = { prefix: [], host: '127.0.0.1' }

export async function launchMirante(options: MiranteOptions = {}): Promise<MiranteProcess> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'mirante-'))
  const port = await freePort()
  const { prefix, host } = options.place ?? HERE
  const url = `http://${host}:${port}`
  const command = options.command ?? [dist('src/main.js'), 'serve', ...(options.flags ?? [])]
  const env = {
    ...process.env,
    HOST: host,
    PORT: String(port),
    SESSION_STORAGE_PATH: directory,
    BOOTSTRAP_API_KEY: TEST_API_KEY,
    EGRESS_ALLOW: '127.0.0.0/8',
    LOG_LEVEL: 'warn',
    ...(options.simulator && {
      WHATSAPP_WEB_URL: options.simulator.wsUrl,
      WHATSAPP_ROOT_KEY: options.simulator.rootPublicKeyHex,
    }),
    ...options.env,
  }
  let child = run()
  await ready()

  return {
    url,
    directory,
    get pid() {
      return child.pid ?? 0
    },
    get alive() {
      return isAlive(child)
    },
    pidOf: (target) => pidsOf(target)[0],
    kill,
    killAll() {
      for (const pid of [...pidsOf('postgres'), ...treeOf(child.pid ?? 0)]) signalProcess(pid, 'SIGKILL')
    },
    async restart() {
      if (isAlive(child)) await once(child, 'exit')
      child = run()
      await ready()
    },
    ready,
    api: (method, path, request) => callApi(url, method, path, request),
    async stop() {
      await end(child, 'SIGTERM')
      if (!options.directory) rmSync(directory, { recursive: true, force: true })
    },
  }

  function run(): ChildProcess {
    const output = options.output ?? 'inherit'
    // Not where a developer's own .env may lie; another command may have to be found from here.
    const cwd = options.command ? undefined : directory
    const [program, ...args] = [...prefix, process.execPath, ...command] as [string, ...string[]]
    return spawn(program, args, { env, cwd, stdio: ['ignore', output, output] })
  }

  async function ready(timeoutMs = 120_000): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (performance.now() < deadline) {
      const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
      if (answer?.ok) return
      if (!isAlive(child)) throw new Error(`it ended with ${child.exitCode ?? child.signalCode} before it was ready`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    throw new Error('not ready in time')
  }

  function kill(target: KillTarget): boolean {
    const [pid] = pidsOf(target)
    if (pid === undefined) return false
    signalProcess(pid, 'SIGKILL')
    return true
  }

  function pidsOf(target: KillTarget): number[] {
    if (target === 'supervisor') return isAlive(child) ? [child.pid ?? 0] : []
    if (target === 'postgres') return postmasterOf(directory)
    return treeOf(child.pid ?? 0).filter((pid) => commandLine(pid).some((word) => word.startsWith(target)))
  }
}

/** One API call to whoever answers at this address; rejects when nobody does. */
export async function callApi(
  url: string,
  method: string,
  path: string,
  { body, headers, timeoutMs = 30_000 }: ApiOptions = {},
): Promise<ApiAnswer> {
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${TEST_API_KEY}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, body: text ? JSON.parse(text) : undefined }
}

/** The PostgreSQL that runs on a data directory, from its pid file. */
function postmasterOf(directory: string): number[] {
  const found = readdirSync(directory, { recursive: true, encoding: 'utf8' }).find((name) =>
    name.endsWith('postmaster.pid'),
  )
  if (!found) return []
  const pid = Number(readFileSync(join(directory, found), 'utf8').split('\n')[0])
  return commandLine(pid).some((word) => word.includes('postgres')) ? [pid] : []
}

const isAlive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (!isAlive(child)) return
  const exited = once(child, 'exit')
  child.kill(signal)
  const timer = setTimeout(() => child.kill('SIGKILL'), 40_000)
  await exited
  clearTimeout(timer)
}

/** Its first line of output; what follows is read and thrown away, so that it never blocks. */
function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    child.once('exit', () => reject(new Error('it ended without a word')))
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const end = text.indexOf('\n')
      if (end >= 0) resolve(text.slice(0, end))
    })
  })
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
