/** Runs a command of the built product as a person would, and hears what it says while it runs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'

/** What `mirante` is once it is installed. */
export const MAIN = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))

/** A bound against hanging. */
const SAYS_WITHIN_MS = 120_000

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Command {
  /** Resolves with the first match in stdout. */
  says(pattern: RegExp): Promise<RegExpExecArray>
  /** … in stderr. */
  complains(pattern: RegExp): Promise<RegExpExecArray>
  readonly ended: Promise<Ended>
  interrupt(): void
}

export interface CommandRunner {
  (...args: readonly string[]): Command
  /** Ends what still runs. */
  stopAll(): void
}

/**
 * @param environment all that the command sees, besides PATH; asked at each run
 * @param directory where it runs; not where a developer's own .env may lie
 */
export function commandRunner(
  environment: () => Readonly<Record<string, string>>,
  directory: () => string = tmpdir,
): CommandRunner {
  const running = new Set<ChildProcess>()

  function run(...args: readonly string[]): Command {
    const env = { PATH: process.env.PATH, ...environment() }
    const child = spawn(process.execPath, [MAIN, ...args], { env, cwd: directory(), stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    const read = { stdout: '', stderr: '' }
    const looks = new Set<() => void>()
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (data) => {
        read[name] += String(data)
        for (const look of looks) look()
      })
    }
    const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, ...read })))
    const waitFor = (name: 'stdout' | 'stderr') => (pattern: RegExp) =>
      new Promise<RegExpExecArray>((resolve, reject) => {
        const giveUp = (why: string): void =>
          reject(new Error(`${why} ${pattern}; stdout: ${read.stdout} stderr: ${read.stderr}`))
        const timer = setTimeout(giveUp, SAYS_WITHIN_MS, `in ${SAYS_WITHIN_MS} ms it did not say`)
        const look = (): void => {
          const found = pattern.exec(read[name])
          if (!found) return
          clearTimeout(timer)
          resolve(found)
        }
        looks.add(look)
        look()
        void ended.then(() => {
          clearTimeout(timer)
          giveUp('it ended without saying')
        })
      })
    return {
      ended,
      says: waitFor('stdout'),
      complains: waitFor('stderr'),
      interrupt: () => void child.kill('SIGINT'),
    }
  }

  return Object.assign(run, {
    stopAll() {
      for (const child of running) child.kill()
      running.clear()
    },
  })
}

/** Of `--json` streams. */
export const jsonLines = <Line>(text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line)
