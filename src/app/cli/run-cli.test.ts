import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, vi } from 'vitest'
import { EXIT } from '../exit-codes.js'
import { parseFrame } from './api-client.js'
import { commands } from './commands.js'
import { completedCommands } from './completion.js'
import { configFlags, flagsFrom } from './config-flags.js'
import { runCli } from './run-cli.js'

const MAIN = fileURLToPath(new URL('../../main.ts', import.meta.url))
const ENVIRONMENT = { PATH: process.env.PATH, HOME: process.env.HOME }

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function mirante(args: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN, ...args], { env: { ...ENVIRONMENT, ...environment } })
  const read = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (data) => (read[name] += String(data)))
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, ...read })))
}

describe.concurrent('a command line', () => {
  it('shows every command in its help, on stdout, without colours', async () => {
    const { code, stdout } = await mirante(['--help'])
    expect(code).toBe(0)
    for (const { meta } of commands) {
      const isShown = new RegExp(`^ +${meta.name} +\\w`, 'm').test(stdout)
      expect(isShown, meta.name).toBe(!meta.hidden)
    }
    expect(stdout).toMatch(/^ +4 +doctor or config explain found problems$/m)
    expect(stdout).not.toContain('\u001B')
  })

  it('says its version', async () => {
    expect(await mirante(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })

  it('without a command shows the help as an error', async () => {
    expect(await mirante([])).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('USAGE') })
  })

  it.each([
    [['serve', '--prot=1'], "Unknown option '--prot'. Did you mean --port?"],
    [['serve', 'now'], 'Too many words: now'],
    [['serve', '--roles=web,cook'], '--roles takes some of web, gateway, worker, scheduler'],
  ])('%j is refused with code 2 and a sentence', async (args, sentence) => {
    expect(await mirante(args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(sentence) })
  })

  it('a wrong configuration is refused with code 2, all of it at once', async () => {
    const { code, stderr } = await mirante(['serve', '--port=x'], { GATEWAYS: 'many' })
    expect(code).toBe(2)
    expect(stderr).toContain('PORT must be')
    expect(stderr).toContain('GATEWAYS must be')
  })

  it('a Mirante that does not answer is code 3', async () => {
    const args = ['send', 'ins_x', '+5511987654321', 'hello', '--url=http://127.0.0.1:9', '--key=k']
    expect(await mirante(args)).toMatchObject({ code: 3, stderr: expect.stringContaining('does not answer') })
  })

  it('a database that does not answer is code 3 for migrate', async () => {
    const environment = { DATABASE_URL: 'postgres://nobody@127.0.0.1:9/nothing' }
    expect(await mirante(['migrate'], environment)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('The database does not answer'),
    })
  })
})

describe('a command line that cannot be meant', () => {
  // In this very process, one after another: a process each would take a minute.
  it.each([
    [['frobnicate'], 'There is no command frobnicate. See: mirante --help'],
    [['docter'], 'There is no command docter. Did you mean doctor?'],
    [['dlq', 'lst'], 'There is no dlq lst. Did you mean list?'],
    [['dlq'], 'USAGE'],
    [['dlq', 'retry', '--key=k'], 'Name one dead letter by its id'],
    [['dlq', 'retry', 'job_1', '--all', '--key=k'], 'Name one dead letter by its id'],
    [['dlq', 'list', '--kind=fanout', '--key=k'], 'Did you mean fan-out?'],
    [['completion', 'csh'], 'It is one of bash, zsh, fish, and not csh.'],
    [['config', 'explain', 'PROT'], 'There is no setting PROT. Did you mean PORT?'],
    [['listen', '--forward-to=ftp://x/'], '--forward-to takes a URL'],
    [['listen', '--forward-to=4000', '--secret=hush'], '--secret takes whsec_'],
    [['listen', '--secret=hush'], 'it needs --forward-to'],
    [['listen', '--after=yesterday'], '--after takes the sequence number'],
    [['webhooks', 'add', 'https://a.example', '--events=message.recieved'], 'Did you mean message.received?'],
    [['webhooks', 'replay', '--key=k'], 'Since when? For example --since 2h'],
    [['webhooks', 'replay', '--event=evt_1', '--failed', '--key=k'], '--event is one event'],
    [['webhooks', 'replay', '--since=yesterday', '--key=k'], '--since takes 30m, 2h, 3d, or a time'],
    [['trigger', 'message.recieved', '--key=k'], 'Did you mean message.received?'],
    [['send', 'support'], 'Missing: <number> <text>.'],
    [['send', 'support', '+5511987654321', 'hello'], 'No API key: set MIRANTE_API_KEY'],
  ])('%j is refused with code 2 and a sentence', async (args, sentence) => {
    const said: string[] = []
    const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0)
    const code = await runCli(args).finally(() => write.mockRestore())
    expect({ code, said: said.join('') }).toEqual({ code: 2, said: expect.stringContaining(sentence) })
  })
})

describe('docs/cli.md', () => {
  const manual = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8')

  it('names every command, every option of its own, every check of the doctor and every exit code', async () => {
    const settings = new Set(Object.keys(configFlags()))
    for (const { path, flags } of await completedCommands(commands)) {
      expect(manual).toContain(path.split(' ').at(-1))
      const own = flags.filter(({ name }) => path === 'demo' || !settings.has(name))
      for (const { name } of own) expect(manual, path).toContain(`--${name}`)
    }
    const folder = new URL('./doctor/', import.meta.url)
    const sources = readdirSync(folder).filter((name) => !name.endsWith('.test.ts'))
    const checks = sources.flatMap((name) =>
      [...readFileSync(new URL(name, folder), 'utf8').matchAll(/\b(?:ok|warning|problem)\(\s*'([a-z-]+)'/g)].map(
        ([, check]) => check,
      ),
    )
    expect(new Set(checks).size).toBeGreaterThan(15)
    for (const check of new Set(checks)) expect(manual).toContain(`\`${check}\``)
    for (const code of Object.values(EXIT)) expect(manual).toMatch(new RegExp(`^\\| ${code} +\\|`, 'm'))
  })
})

describe('flags of the configuration', () => {
  it('are named after their variables, and a secret has only its file', () => {
    const names = Object.keys(configFlags())
    expect(names).toEqual(expect.arrayContaining(['port', 'lease-ttl-ms', 'database-url-file', 'encryption-key-file']))
    expect(names).not.toContain('encryption-key')
  })

  it('lead back to their variables', () => {
    expect(flagsFrom({ 'lease-ttl-ms': '1000', 'database-url-file': '/x' })).toMatchObject({
      LEASE_TTL_MS: '1000',
      DATABASE_URL_FILE: '/x',
    })
  })
})

describe('live events', () => {
  it('are read from their data, over several lines, with their position', () => {
    expect(parseFrame('id: 7\nevent: message.sent\ndata: {"sequence":\ndata: 7}')).toEqual({
      position: 7,
      event: { sequence: 7 },
    })
  })

  it('may be a position alone, from which one would go on', () => {
    expect(parseFrame('id: 41')).toEqual({ position: 41 })
  })

  it('leave out comments that keep the connection alive', () => {
    expect(parseFrame(': alive')).toBeUndefined()
    expect(parseFrame('retry: 2000')).toBeUndefined()
  })
})
