/**
 * A real NGINX on free ports, run from the files of deploy/nginx: only what belongs to a machine is replaced (addresses,
 * ports, where logs and temporary files lie). Never the one of the machine.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { requireDebian } from '../debian.js'
import { eventually } from '../eventually.js'
import { freePort } from '../launch.js'

export interface NginxOptions {
  /** `host:port` of the replicas, for the names of the pool, in their order. Fewer than names: the rest is left out. */
  readonly replicas: readonly string[]
  /** Which file says who is in the pool. */
  readonly pool?: 'upstream.conf' | 'upstream.swarm.conf'
  /** Serves by tls.conf in place of the plain server. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string }
  /** Changes a file before it is used, for controls. */
  readonly change?: (file: string, text: string) => string
}

export interface Nginx {
  /** Of the plain server; with `tls`, of the one that sends on. */
  readonly url: string
  readonly tlsUrl: string
  readonly pid: number
  /** The configuration is read anew, as by `nginx -s reload`; resolves when the old workers take no more connections. */
  reload(): Promise<void>
  /** The lines of the access log so far. */
  log(): readonly Record<string, unknown>[]
  stop(): Promise<void>
}

const source = fileURLToPath(new URL('../../../deploy/nginx/', import.meta.url))

/** @throws with what nginx said when it does not start */
export async function startNginx(options: NginxOptions): Promise<Nginx> {
  requireDebian(['nginx'])
  const directory = mkdtempSync(join(tmpdir(), 'mirante-nginx-'))
  // Its workers run as another user.
  chmodSync(directory, 0o755)
  const ports = { plain: await freePort(), tls: await freePort() }
  for (const [file, text] of render(options, directory, ports)) writeFileSync(join(directory, file), text)
  const child = spawn('nginx', ['-p', directory, '-c', join(directory, 'nginx.conf')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said: string[] = []
  child.stderr.on('data', (chunk) => said.push(String(chunk)))
  await eventually(() => {
    if (isRunning(child)) return answersAt(ports.plain)
    throw new Error(said.join(''))
  }, 'nginx answers').catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })

  return {
    url: `http://127.0.0.1:${ports.plain}`,
    tlsUrl: `https://127.0.0.1:${ports.tls}`,
    get pid() {
      return child.pid ?? 0
    },
    async reload() {
      const before = new Set(workersOf(child))
      child.kill('SIGHUP')
      await eventually(() => workersOf(child).some((pid) => !before.has(pid)), 'nginx has new workers')
    },
    log: () => readLog(join(directory, 'access.log')),
    async stop() {
      if (isRunning(child)) {
        const exited = once(child, 'exit')
        child.kill('SIGTERM')
        await exited
      }
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

// Helpers

/** The files of deploy/nginx, for this machine. */
function render(
  { replicas, pool = 'upstream.conf', tls, change = (_, text) => text }: NginxOptions,
  directory: string,
  ports: { readonly plain: number; readonly tls: number },
): [string, string][] {
  const read = (file: string): string => change(file, readFileSync(join(source, file), 'utf8'))
  const main = (
    tls ? read('nginx.conf').replace(/\n {4}server \{[\s\S]*?\n {4}\}/, '\n    include tls.conf;') : read('nginx.conf')
  )
    .replace('worker_processes auto', 'worker_processes 2')
    .replace('/dev/stdout', join(directory, 'access.log'))
    .replace('http {', `http {\n${temporaryPaths(directory)}`)
  const files: [string, string][] = [
    ['nginx.conf', `daemon off;\npid ${join(directory, 'nginx.pid')};\nerror_log stderr warn;\n${main}`],
    ['upstream.conf', fillPool(read(pool), replicas)],
    ['locations.conf', read('locations.conf')],
  ]
  if (tls) {
    const text = read('tls.conf')
      .replace(/ssl_certificate \S+;/, `ssl_certificate ${tls.certificateFile};`)
      .replace(/ssl_certificate_key \S+;/, `ssl_certificate_key ${tls.keyFile};`)
    files.push(['tls.conf', text])
  }
  return files.map(([file, text]) => [
    file,
    text
      .replaceAll('listen 80;', `listen 127.0.0.1:${ports.plain};`)
      .replace('listen 443 ', `listen 127.0.0.1:${ports.tls} `),
  ])
}

const temporaryPaths = (directory: string): string =>
  ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `    ${name}_temp_path ${join(directory, name)};`)
    .join('\n')

function fillPool(text: string, replicas: readonly string[]): string {
  let place = 0
  return text.replaceAll(/^( *server )mirante\S*:3000(.*)$/gm, (_line, before: string, after: string) => {
    const address = replicas[place++]
    return address === undefined ? '' : `${before}${address}${after}`
  })
}

const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null

function workersOf({ pid }: ChildProcess): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number)
    .filter((worker) => !readFileSync(`/proc/${worker}/cmdline`, 'utf8').includes('shutting down'))
}

function answersAt(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const settle = (answer: boolean) => (): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', settle(true)).once('error', settle(false))
  })
}

function readLog(file: string): Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}
