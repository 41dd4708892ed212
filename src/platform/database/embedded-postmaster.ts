/** One run of the embedded PostgreSQL server: start, wait until ready, find one that was left behind, end. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { open, readFile, readlink, realpath, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Clock, systemClock } from '../../kernel/clock.js'
import { AppError } from '../../kernel/errors.js'
import { type ClusterPaths, childEnvironment, dataArgument } from './embedded-cluster.js'
import type { Runtime } from './embedded-runtime.js'

export interface Postmaster {
  readonly pid: number
  readonly port: number
  /** Resolves when it has ended, for whatever reason. */
  readonly ended: Promise<void>
}

/** Why a start failed, where trying again can help. */
export type StartFailure = 'port_taken' | 'still_ending'
export type StartResult = Postmaster | { readonly failed: StartFailure }

export interface PostmasterContext {
  readonly paths: ClusterPaths
  readonly runtime: Runtime
  readonly clock: Clock
}

const HOST = '127.0.0.1'
const POLL_MS = 10
const WATCH_MS = 200
const FAST_STOP_MS = 30_000
const IMMEDIATE_STOP_MS = 10_000
const MB = 1024 * 1024

/** Starts the server and waits until it accepts connections, however long it recovers. */
export async function startPostmaster(context: PostmasterContext, port: number): Promise<StartResult> {
  const { paths, runtime, clock } = context
  const output = await open(paths.startLog, 'w', 0o600)
  const child = spawn(join(runtime.native, 'bin', 'postgres'), serverArguments(context, port), {
    ...runtime.account,
    cwd: paths.data,
    env: childEnvironment,
    stdio: ['ignore', output.fd, output.fd],
    // A group of its own: Ctrl-C in a terminal is for Mirante, which then ends it in order.
    detached: true,
  })
  const ended = endOf(child)
  await output.close()
  const { pid } = child
  // A program that is there and "not found" lacks its loader: these are built for glibc.
  if (pid === undefined) throw startError('its program cannot be run on this system; set DATABASE_URL to a server')
  let running = true
  void ended.then(() => {
    running = false
  })
  while (running) {
    const status = await readPidFile(paths)
    if (status?.pid === pid && status.isReady) return { pid, port, ended }
    await clock.sleep(POLL_MS)
  }
  const words = await lastWords(paths, pid)
  const failed = classify(words)
  if (failed) return { failed }
  const fatal = words.split('\n').findLast((line) => /FATAL|PANIC|error/i.test(line))
  throw startError(`${fatal?.trim() ?? 'it said nothing'} (log: ${paths.startLog} and ${join(paths.data, 'log')})`)
}

/** A server of this directory that an earlier starter left running; removes the note of one that is not there any more. */
export async function findLeftover(context: PostmasterContext): Promise<Postmaster | undefined> {
  const { paths, clock } = context
  const status = await readPidFile(paths)
  if (!status) return undefined
  if (await isServerOf(paths, status.pid)) {
    return { pid: status.pid, port: status.port, ended: watch(paths, status.pid, clock) }
  }
  // Its pid may belong to a stranger by now, and PostgreSQL would refuse to start because of that.
  await rm(join(paths.data, 'postmaster.pid'), { force: true })
  return undefined
}

/** Whether it runs with the arguments that a start would give it now, and is ready. */
export async function isAsWanted(context: PostmasterContext, { port }: Postmaster): Promise<boolean> {
  const { paths, runtime } = context
  const started = await readFile(join(paths.data, 'postmaster.opts'), 'utf8').catch(() => '')
  const words = [join(runtime.native, 'bin', 'postgres'), ...serverArguments(context, port).map((word) => `"${word}"`)]
  return started.trim() === words.join(' ') && (await readPidFile(paths))?.isReady === true
}

/** Fast shutdown: transactions are aborted, everything is written. Past its time: at once, and the next start recovers. */
export async function stopPostmaster({ pid, ended }: Postmaster, clock: Clock = systemClock): Promise<void> {
  for (const [signal, patienceMs] of [
    ['SIGINT', FAST_STOP_MS],
    ['SIGQUIT', IMMEDIATE_STOP_MS],
  ] as const) {
    send(pid, signal)
    const waiting = new AbortController()
    const patience = clock.sleep(patienceMs, waiting.signal).then(
      () => 'late',
      () => 'ended',
    )
    const outcome = await Promise.race([ended.then(() => 'ended'), patience])
    waiting.abort()
    if (outcome === 'ended') return
  }
  throw new AppError('postgres_start_failed', { detail: `PostgreSQL with pid ${pid} does not end.` })
}

/** A port below those that the system gives to outgoing connections, so that it is still free at the next start. */
export async function findFreePort(random: () => number, preferred?: number): Promise<number> {
  if (preferred !== undefined && (await isFree(preferred))) return preferred
  for (;;) {
    const port = 20_000 + Math.floor(random() * 12_000)
    if (await isFree(port)) return port
  }
}

// Helpers

function serverArguments({ paths, runtime }: PostmasterContext, port: number): string[] {
  const settings: Readonly<Record<string, string | number>> = {
    listen_addresses: HOST,
    port,
    unix_socket_directories: '',
    max_connections: 100,
    shared_buffers: `${sharedBuffersMb()}MB`,
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    // Statements here are short: compiling them costs more than running them.
    jit: 'off',
    // Reads of a small installation come from memory: worker processes for them are dead weight.
    io_method: 'sync',
    timezone: 'UTC',
    log_timezone: 'UTC',
    // One file for each day of the week.
    logging_collector: 'on',
    log_directory: 'log',
    log_filename: 'postgresql-%a.log',
    log_rotation_age: '1d',
    log_truncate_on_rotation: 'on',
    log_line_prefix: '%m [%p] %a ',
    // Statements and the keys in details may hold messages and phone numbers.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
  }
  return [
    '-D',
    dataArgument(paths, runtime),
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, HOST, () => server.close(() => resolve(true)))
  })

/** A sixteenth of the memory, in steps, between 32 and 256 MB. */
const sharedBuffersMb = (): number => Math.min(256, Math.max(32, 32 * Math.floor(totalmem() / 16 / MB / 32)))

function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
}

/** For a server that is not our child there is no event: its pid is looked at. */
async function watch(paths: ClusterPaths, pid: number, clock: Clock): Promise<void> {
  while (await isServerOf(paths, pid)) await clock.sleep(WATCH_MS)
}

interface PidFile {
  readonly pid: number
  readonly port: number
  readonly isReady: boolean
}

/** Lines of `postmaster.pid`: pid, data directory, start time, port, socket directory, address, shared memory, status. */
async function readPidFile(paths: ClusterPaths): Promise<PidFile | undefined> {
  const text = await readFile(join(paths.data, 'postmaster.pid'), 'utf8').catch(() => '')
  const lines = text.split('\n').map((line) => line.trim())
  const pid = Number(lines[0])
  return pid > 1 ? { pid, port: Number(lines[3]), isReady: lines[7] === 'ready' } : undefined
}

/** Whether that process is alive and a server of this data directory, and not a stranger with the same pid. */
async function isServerOf(paths: ClusterPaths, pid: number): Promise<boolean> {
  if (!send(pid, 0)) return false
  try {
    if (process.platform !== 'linux') return (await commandOf(pid)).endsWith('postgres')
    const [folder, data, program] = [
      await readlink(`/proc/${pid}/cwd`),
      await realpath(paths.data),
      await readlink(`/proc/${pid}/exe`),
    ]
    // A zombie has no folder; "(deleted)" follows the name of a program whose package was updated.
    return folder === data && /\/postgres( \(deleted\))?$/.test(program)
  } catch {
    return false
  }
}

async function commandOf(pid: number): Promise<string> {
  const { stdout } = await promisify(execFile)('ps', ['-p', String(pid), '-o', 'comm='])
  return stdout.trim()
}

/** False when there is no such process. */
function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function classify(words: string): StartFailure | undefined {
  if (/could not bind|could not create any TCP\/IP sockets/.test(words)) return 'port_taken'
  // After a kill -9 of the server its children take a moment to notice.
  if (/shared memory block .* still in use|is another postmaster|is another postgres/.test(words)) return 'still_ending'
  return undefined
}

const startError = (detail: string): AppError =>
  new AppError('postgres_start_failed', { detail: `PostgreSQL did not start: ${detail}` })

/** What the run with this pid said before and after it had opened its log. */
async function lastWords(paths: ClusterPaths, pid: number): Promise<string> {
  const early = await readFile(paths.startLog, 'utf8').catch(() => '')
  const current = await readFile(join(paths.data, 'current_logfiles'), 'utf8').catch(() => '')
  const name = /^stderr (.+)$/m.exec(current)?.[1]
  const log = name === undefined ? '' : await readFile(join(paths.data, name), 'utf8').catch(() => '')
  const start = log.indexOf(`[${pid}]`)
  return start < 0 ? early : `${early}\n${log.slice(log.lastIndexOf('\n', start) + 1)}`
}
