/**
 * What deploy/Dockerfile says, step by step in directories in place of images: `npm ci`, the build, what is copied from where,
 * and then the command, its health check, a stop and a start again on the same volume, as compose.yml has them. Needs npm's
 * registry and some minutes. `tsx test/chaos/image-steps.ts`; exit 1 on failure.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readArtefact, readCompose } from '../support/deploy/artefacts.js'
import { eventually } from '../support/eventually.js'
import { freePort } from '../support/launch.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const WORKDIR = '/app'

interface Stage {
  readonly directory: string
  readonly env: Record<string, string>
  health: readonly string[]
  command: readonly string[]
}

const top = mkdtempSync(join(tmpdir(), 'mirante-image-'))
const running = new Set<ChildProcess>()
console.log('the steps of deploy/Dockerfile')
const failures: string[] = []
try {
  const image = build()
  await serveTwice(image)
} catch (error) {
  failures.push(String(error))
} finally {
  for (const child of running) child.kill('SIGKILL')
  rmSync(top, { recursive: true, force: true, maxRetries: 10 })
}
for (const failure of failures) console.log(`  FAILED: ${failure}`)
console.log(failures.length === 0 ? 'the image holds' : 'the image does not hold')
process.exit(failures.length === 0 ? 0 : 1)

/** Runs all instructions; the last stage is the image. */
function build(): Stage {
  const stages = new Map<string, Stage>()
  let stage: Stage | undefined
  for (const instruction of readInstructions()) {
    const [word, rest] = splitOnce(instruction)
    if (word === 'FROM') {
      const name = / AS (\w+)$/.exec(rest)?.[1] ?? 'image'
      stage = { directory: join(top, name), env: {}, health: [], command: [] }
      mkdirSync(join(stage.directory, WORKDIR), { recursive: true })
      stages.set(name, stage)
    } else if (stage) run(stage, stages, word, rest)
  }
  if (!stage) throw new Error('the Dockerfile has no stage')
  return stage
}

function run(stage: Stage, stages: ReadonlyMap<string, Stage>, word: string, rest: string): void {
  switch (word) {
    case 'RUN':
      execute(stage, rest)
      return
    case 'COPY':
      copy(stage, stages, rest)
      return
    case 'ENV': {
      const [name = '', value = ''] = rest.split('=')
      stage.env[name] = within(stage, value)
      return
    }
    case 'HEALTHCHECK':
      stage.health = JSON.parse(rest.slice(rest.indexOf('['))) as string[]
      return
    case 'ENTRYPOINT':
    case 'CMD':
      stage.command = [...stage.command, ...(JSON.parse(rest) as string[])]
      return
    case 'WORKDIR':
      if (rest !== WORKDIR) throw new Error(`the steps are made for WORKDIR ${WORKDIR}`)
      return
    case 'USER':
    case 'VOLUME':
    case 'EXPOSE':
    case 'STOPSIGNAL':
      return
    default:
      throw new Error(`what is ${word}?`)
  }
}

function execute(stage: Stage, command: string): void {
  // There is no account called node here; the directory is what counts.
  const here = command.replace('--owner=node --group=node ', '').replace(' /data', ` ${join(stage.directory, 'data')}`)
  console.log(`  ${here}`)
  const { status, stderr } = spawnSync('sh', ['-c', here], {
    cwd: join(stage.directory, WORKDIR),
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...stage.env },
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`${here} ended with ${status}: ${stderr.slice(-2_000)}`)
}

function copy(stage: Stage, stages: ReadonlyMap<string, Stage>, rest: string): void {
  const words = rest.split(' ')
  const from = words[0]?.startsWith('--from=') ? stages.get(words.shift()?.slice('--from='.length) ?? '') : undefined
  const target = words.pop() ?? ''
  for (const word of words) {
    const source = from ? join(from.directory, word) : join(root, word)
    const to = join(stage.directory, WORKDIR, target, target.endsWith('/') ? word : '')
    mkdirSync(dirname(to), { recursive: true })
    // As the ignore file has it; and the links of packages stay links.
    cpSync(source, to, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => from !== undefined || !path.endsWith('.test.ts'),
    })
  }
}

/** compose.yml's one service: healthy, stopped within its grace, and the same again on the same volume. */
async function serveTwice(image: Stage): Promise<void> {
  const grace = Number.parseInt(readCompose('compose.yml').services.mirante?.stop_grace_period ?? '', 10)
  if (readdirSync(join(image.directory, WORKDIR, 'node_modules')).includes('typescript')) {
    throw new Error('what only building needs is in the image')
  }
  importAll(image)
  const port = await freePort()
  const first = start(image, port)
  await healthy(image, port)
  const key = /Key +(mir_\S+)/.exec(first.said())?.[1]
  if (!key) throw new Error(`the first key was not shown: ${first.said()}`)
  await stop(first.child, grace)
  const second = start(image, port)
  await healthy(image, port)
  const answer = await fetch(`http://127.0.0.1:${port}/api/instances`, { headers: { authorization: `Bearer ${key}` } })
  if (!answer.ok) throw new Error(`the key of the first start is answered ${answer.status}`)
  await stop(second.child, grace)
  console.log('  it served, was healthy, stopped in time, and knew its key when it was started again')
}

/** No script of a package ran: whatever lacks something for it fails here. */
function importAll(image: Stage): void {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object }
  const program = `for (const name of ${JSON.stringify(Object.keys(dependencies))}) await import(name)\nprocess.exit()`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: join(image.directory, WORKDIR),
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`a package cannot be loaded: ${stderr.slice(-2_000)}`)
}

function start(image: Stage, port: number): { readonly child: ChildProcess; said(): string } {
  const [command = '', ...args] = image.command
  const child = spawn(command, args, {
    cwd: join(image.directory, WORKDIR),
    env: { PATH: process.env.PATH, ...image.env, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let said = ''
  child.stdout.on('data', (chunk) => {
    said += String(chunk)
  })
  return { child, said: () => said }
}

async function healthy(image: Stage, port: number): Promise<void> {
  const [command = '', ...args] = image.health.filter((word) => word !== 'CMD')
  const isHealthy = (): boolean =>
    spawnSync(command, args, { env: { PATH: process.env.PATH, PORT: String(port) } }).status === 0
  if (isHealthy()) throw new Error('it is healthy before it has started')
  await eventually(isHealthy, 'the health check succeeds')
  await eventually(async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok, 'it is ready')
}

async function stop(child: ChildProcess, graceSeconds: number): Promise<void> {
  const since = performance.now()
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const [code] = await exited
  const seconds = (performance.now() - since) / 1_000
  console.log(`  it stopped in ${seconds.toFixed(1)} s with ${code}`)
  if (code !== 0) throw new Error(`it ended with ${code}`)
  if (seconds > graceSeconds) throw new Error(`it took longer than the ${graceSeconds} s that it is given`)
}

// Helpers

function readInstructions(): string[] {
  return readArtefact('Dockerfile')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
}

function splitOnce(line: string): [string, string] {
  const at = line.indexOf(' ')
  return [line.slice(0, at), line.slice(at + 1).trim()]
}

function within({ directory }: Stage, value: string): string {
  return value.startsWith('/') ? join(directory, value) : value
}
