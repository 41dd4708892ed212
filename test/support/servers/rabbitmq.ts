/**
 * A RabbitMQ of a test's own, on free ports with a node name, an epmd and a data directory of its own, to be killed, wiped and
 * alarmed as the test likes. Never the one on 5672. Up in some ten seconds. Ends what it started by its pid.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../launch.js'

export interface RabbitServer {
  readonly url: string
  readonly port: number
  /** Of the Erlang VM itself. */
  readonly pid: number
  /** rabbitmqctl; resolves to what it prints. Takes seconds. */
  ctl(...command: readonly string[]): Promise<string>
  /**
   * kill -9. Durable queues and what was confirmed for them are there again after `restart`; but RabbitMQ 3.10 registers a
   * quorum queue half a second late, and one younger than that has no leader afterwards and never gets one.
   */
  kill(): Promise<void>
  /** Starts it again, on the same port and directory; kills it before if it runs. */
  restart(): Promise<void>
  /** The memory alarm: publishers are blocked until it is over. */
  alarm(on: boolean): Promise<void>
  stop(): Promise<void>
}

export interface RabbitOptions {
  /** Lines of rabbitmq.conf. */
  readonly settings?: Readonly<Record<string, string>>
}

/** Debian's script in /usr/sbin insists on its own user and directories; this is what it calls. */
const SCRIPTS = '/usr/lib/rabbitmq/bin'

const run = promisify(execFile)

export async function startRabbit({ settings = {} }: RabbitOptions = {}): Promise<RabbitServer> {
  const directory = mkdtempSync(join(tmpdir(), 'mirante-rabbitmq-'))
  const [port, distPort, epmdPort] = [await freePort(), await freePort(), await freePort()]
  const lines = {
    'listeners.tcp.default': `127.0.0.1:${port}`,
    // A test's machine is small, and so is its disk.
    'disk_free_limit.absolute': '1MB',
    ...settings,
  }
  const config = join(directory, 'rabbitmq.conf')
  writeFileSync(config, [...Object.entries(lines).map(([name, value]) => `${name} = ${value}`), ''].join('\n'))
  const env = {
    PATH: process.env.PATH,
    HOME: directory,
    RABBITMQ_NODENAME: `mirante-${port}@localhost`,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_MNESIA_BASE: join(directory, 'mnesia'),
    RABBITMQ_LOG_BASE: join(directory, 'log'),
    RABBITMQ_CONFIG_FILE: config,
    RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'enabled_plugins'),
    RABBITMQ_PID_FILE: join(directory, 'pid'),
    RABBITMQ_CONF_ENV_FILE: join(directory, 'no-rabbitmq-env.conf'),
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    // Small, and the epmd is ours.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none -start_epmd false',
    // The script becomes the VM, instead of keeping it as a child.
    RUNNING_UNDER_SYSTEMD: 'true',
  }
  const epmd = spawn('epmd', ['-port', String(epmdPort), '-address', '127.0.0.1'], { env, stdio: 'ignore' })
  let server = await boot()

  return {
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    port,
    get pid() {
      return server.pid ?? 0
    },
    ctl,
    kill: () => end(server),
    async restart() {
      await end(server)
      server = await boot()
    },
    async alarm(on) {
      await ctl('set_vm_memory_high_watermark', on ? '0.000001' : '0.9')
    },
    async stop() {
      await end(server)
      await end(epmd)
      rmSync(directory, { recursive: true, force: true })
    },
  }

  async function boot(): Promise<ChildProcess> {
    const started = spawn(join(SCRIPTS, 'rabbitmq-server'), { env, cwd: directory, stdio: 'ignore' })
    // A test's process that is ended before its `stop` leaves none behind.
    const abandon = () => void [started, epmd].map((child) => child.kill('SIGKILL'))
    process.once('exit', abandon)
    started.once('exit', () => process.off('exit', abandon))
    for (let attempt = 0; attempt < 1_200; attempt++) {
      if (!isAlive(started)) throw new Error(`rabbitmq-server ended with ${started.exitCode ?? started.signalCode}`)
      if (await answers(port)) return started
      await sleep(100)
    }
    throw new Error('rabbitmq-server does not answer')
  }

  async function ctl(...command: readonly string[]): Promise<string> {
    const { stdout } = await run(join(SCRIPTS, 'rabbitmqctl'), ['--quiet', ...command], { env, cwd: directory })
    return stdout
  }
}

// Helpers

/** Starts with Connection.Start, a method frame on channel 0. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 5_000 })
    const settle = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => socket.write('AMQP\0\0\x09\x01', 'latin1'))
    socket.once('data', (data) => settle(data.toString('latin1').startsWith('\x01\0\0')))
    for (const event of ['error', 'timeout', 'close'] as const) socket.once(event, () => settle(false))
  })
}

const isAlive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null

async function end(child: ChildProcess): Promise<void> {
  if (!isAlive(child)) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
