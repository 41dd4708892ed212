/** A command of the built product at a terminal of its own, where it asks and somebody types. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { MAIN } from './command.js'
import { eventually } from './eventually.js'

const SCRIPT = '/usr/bin/script'

/** Whether script(1) is here, which makes the terminal. */
export const hasScript = existsSync(SCRIPT)

interface AtTerminalOptions {
  /** All that the command sees, besides PATH. */
  readonly environment?: Readonly<Record<string, string>>
  readonly directory?: string
}

/** @param talk what it asks, each time, and what is typed then */
export async function atTerminal(
  args: readonly string[],
  talk: readonly (readonly [asks: RegExp, typed: string])[],
  { environment = {}, directory = tmpdir() }: AtTerminalOptions = {},
): Promise<{ code: unknown; output: string }> {
  const command = [process.execPath, MAIN, ...args].join(' ')
  const env = { PATH: process.env.PATH, SHELL: '/bin/bash', ...environment }
  const child = spawn(SCRIPT, ['-qec', command, '/dev/null'], { env, cwd: directory })
  let output = ''
  child.stdout.on('data', (data) => {
    output += String(data)
  })
  const ended = new Promise((resolve) => child.once('close', resolve))
  for (const [asks, typed] of talk) {
    await eventually(() => asks.test(output), 'it asks')
    child.stdin.write(typed)
  }
  return { code: await ended, output }
}
