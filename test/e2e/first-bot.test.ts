/** docs/first-bot.md, block by block as it stands: only the bot's port is another one, and what `npm run demo` starts is started directly. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createEmptyDatabase } from '../support/database.js'
import { eventually } from '../support/eventually.js'
import { freePort } from '../support/launch.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const blocksOf = (document: string): string[] =>
  [...readFileSync(join(root, 'docs', document), 'utf8').matchAll(/```(?:sh|js)\n([\s\S]*?)```/g)].map(
    ([, block]) => block ?? '',
  )
const [start = '', bot = '', startBot = '', listen = '', anaWrites = '', ...rest] = blocksOf('first-bot.md')

interface Running {
  readonly child: ChildProcess
  output: string
}

let database: Awaited<ReturnType<typeof createEmptyDatabase>>
let directory: string
/** What the demo says that one should paste into the other terminals. */
let exported: string
let demo: Running
const terminals: Running[] = []

beforeAll(async () => {
  database = await createEmptyDatabase()
  directory = mkdtempSync(join(tmpdir(), 'mirante-first-bot-'))
  demo = run(`exec node dist/src/main.js demo --database-url=${database.url}`)
  await eventually(() => /^export DEMO_PHONE=\d+$/m.test(demo.output), 'the demo has told how to go on')
  exported = [...demo.output.matchAll(/^export \w+=.+$/gm)].join('\n')
})

afterEach(() => {
  for (const { child } of terminals.splice(0)) end(child)
})

afterAll(async () => {
  const ended = demo && new Promise((resolve) => demo.child.once('close', resolve))
  demo?.child.kill('SIGTERM')
  await ended
  rmSync(directory, { recursive: true, force: true })
  await database?.drop()
})

/** In the clone, without anything of Mirante in the environment; a group of processes of its own, to be ended together. */
function run(script: string): Running {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME }
  const child = spawn('bash', ['-e', '-u', '-c', script], { cwd: root, env, detached: true })
  const running: Running = { child, output: '' }
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      running.output += String(data)
    })
  }
  return running
}

function end(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return
  process.kill(-child.pid, 'SIGTERM')
}

test('both languages have the same blocks, and there is no other', () => {
  expect(blocksOf('first-bot.pt-BR.md')).toEqual(blocksOf('first-bot.md'))
  expect(rest).toEqual([])
  expect(start).toBe('npm run demo\n')
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { demo: string } }
  expect(scripts.demo).toBe('node scripts/start.mjs demo')
})

test('the bot answers Ana in another terminal', async () => {
  const port = String(await freePort())
  const file = join(directory, 'bot.mjs')
  const inTerminal = (block: string) => `${exported}\n${block.replaceAll('4000', port).replace('bot.mjs', file)}`
  expect([bot, listen].every((block) => block.includes('4000'))).toBe(true)
  writeFileSync(file, bot.replace('4000', port))

  const botTerminal = run(inTerminal(startBot))
  const listenTerminal = run(inTerminal(listen))
  terminals.push(botTerminal, listenTerminal)
  await eventually(() => botTerminal.output.includes('the bot listens'), 'the bot listens')
  await eventually(() => /^Listening to/m.test(listenTerminal.output), 'listen listens')

  const ana = run(inTerminal(anaWrites))
  terminals.push(ana)
  await eventually(() => ana.child.exitCode !== null, 'Ana has her answer')
  expect(ana).toMatchObject({ output: expect.stringContaining('You said: Is anybody there?'), child: { exitCode: 0 } })
  await eventually(() => /message\.read .*→ 204/.test(listenTerminal.output), 'the way of the answer was shown')
  expect(listenTerminal.output).toMatch(/message\.received .*→ 204/)
  expect(listenTerminal.output).not.toMatch(/→ (401|5\d\d)/)
})
