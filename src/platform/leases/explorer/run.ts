/**
 * The explorer at full size, over all cores: `npx tsx src/platform/leases/explorer/run.ts [--schedules 200000] [--seed N]`.
 * First the real module, which must hold in every schedule; then each mutant, which must be killed within 20,000. Exits with 1
 * when either fails. `--replay <schedule seed> [--mutant <name>]` prints one schedule.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Exploration, type ExploreOptions, explore, replay, type Violation } from './explore.js'
import { type Mutant, mutants } from './model-session.js'

const MUTANT_SCHEDULES = 20_000
/** First argument of a child: the schedules that are its part follow. */
const PART = '--part'
/** Expected errors are many and need no stack; there is a process per core already. Saves a fifth of the time. */
const QUICK = ['--stack-trace-limit=0', '--single-threaded-gc']

const ordered = process.argv[2] === PART ? (JSON.parse(process.argv[3] ?? '') as ExploreOptions) : undefined
if (ordered) process.send?.(await explore(ordered))
else process.exitCode = await main()

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      schedules: { type: 'string', default: '200000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      workers: { type: 'string', default: String(availableParallelism()) },
      replay: { type: 'string' },
      mutant: { type: 'string' },
    },
  })
  if (values.replay !== undefined) return printReplay(number(values.replay), values.mutant as Mutant | undefined)
  const seed = number(values.seed)
  const held = await checkModule({ seed, schedules: number(values.schedules), workers: number(values.workers) })
  let killed = true
  for (const mutant of mutants) killed = (await checkMutant(mutant, seed)) && killed
  return held && killed ? 0 : 1
}

async function checkModule({ seed, schedules, workers }: Record<'seed' | 'schedules' | 'workers', number>) {
  say(`seed ${seed}: ${schedules} schedules in ${workers} processes`)
  const startedAt = performance.now()
  const { explored, violation } = await exploreInParallel({ seed, schedules }, workers)
  const seconds = Math.round((performance.now() - startedAt) / 1_000)
  if (violation) printViolation(violation)
  say(violation ? `BROKEN after ${explored} schedules` : `HELD in ${explored} schedules, ${seconds} s`)
  return !violation
}

async function checkMutant(mutant: Mutant, seed: number): Promise<boolean> {
  const { explored, violation } = await explore({ mutant, seed, schedules: MUTANT_SCHEDULES })
  say(
    `mutant ${mutant}: ${violation ? `killed after ${explored}: ${violation.what}` : `SURVIVED ${explored} schedules`}`,
  )
  return violation !== undefined
}

/** Resolves when all are through, or one has found a violation. */
async function exploreInParallel(options: ExploreOptions, count: number): Promise<Exploration> {
  const share = Math.ceil(options.schedules / count)
  const children: ChildProcess[] = []
  const explorations: Exploration[] = []
  await new Promise<void>((resolve, reject) => {
    for (let first = 0; first < options.schedules; first += share) {
      const part: ExploreOptions = { ...options, first, schedules: Math.min(share, options.schedules - first) }
      const child = fork(fileURLToPath(import.meta.url), [PART, JSON.stringify(part)], {
        execArgv: [...process.execArgv, ...QUICK],
      })
      children.push(child)
      child.once('error', reject)
      child.once('exit', (code) => code !== 0 && reject(new Error(`a part of the exploration ended with ${code}`)))
      child.once('message', (message) => {
        explorations.push(message as Exploration)
        if ((message as Exploration).violation || explorations.length === children.length) resolve()
      })
    }
  }).finally(() => {
    for (const child of children) child.kill()
  })
  return {
    explored: explorations.reduce((sum, { explored }) => sum + explored, 0),
    violation: explorations.find(({ violation }) => violation)?.violation,
  }
}

async function printReplay(scheduleSeed: number, mutant: Mutant | undefined): Promise<number> {
  const violation = await replay(scheduleSeed, { mutant })
  if (violation) printViolation(violation)
  else say('this schedule holds')
  return violation ? 1 : 0
}

function printViolation({ scheduleSeed, what, trace }: Violation): void {
  for (const line of trace) say(`  ${line}`)
  say(`${what} (replay: --replay ${scheduleSeed})`)
}

function number(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`not a whole number: ${text}`)
  return value
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
