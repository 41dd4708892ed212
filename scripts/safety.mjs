/**
 * `npm run test:safety`: what Mirante promises, put to the test in few rounds; `npm run test:chaos` (`--full`) in all of them.
 * Each entry is a program that prints what it saw and exits non-zero when the promise, or one of its controls, does not hold.
 * `npm run test:safety -- G13` runs those whose name contains a word.
 */
import { requireNode } from './lib/node-version.mjs'

requireNode()
const { build, isStale } = await import('./lib/build.mjs')
const { ensureInstalled } = await import('./lib/install.mjs')
const { runSteps } = await import('./lib/steps.mjs')

/** @type {{ name: string, program: string, reduced?: string[], full?: string[] }[]} */
const promises = [
  {
    name: 'G2 the lease protocol holds in every schedule, and its mutants do not',
    program: 'src/platform/leases/explorer/run.ts',
    reduced: ['--schedules', '40000'],
  },
  {
    name: 'G7 keys and what came in are durable before the wire, wherever it dies',
    program: 'test/chaos/g7-crash-points.ts',
    reduced: ['--reduced', '--no-controls'],
  },
  {
    name: 'G8 nothing is lost, doubled or reordered under kill -9 of everything',
    program: 'test/chaos/g8-storm.ts',
    reduced: ['--reduced', '--no-controls'],
  },
  {
    name: 'G10 equal requests make one message',
    program: 'test/chaos/g10-idempotency.ts',
    reduced: ['--reduced'],
  },
  {
    name: 'G12 every event reaches every webhook endpoint, whatever its receiver does',
    program: 'test/chaos/g12-webhooks.ts',
    reduced: ['--reduced'],
  },
  {
    name: 'G13 no request leaves for an address that is refused',
    program: 'src/platform/egress/ssrf.safety.ts',
    full: ['--full'],
  },
  {
    name: 'G14 a webhook verifies with what our users verify it with, and a forged one never does',
    program: 'test/chaos/g14-signatures.ts',
    reduced: ['--reduced'],
  },
]

const words = process.argv.slice(2).filter((word) => !word.startsWith('-'))
const isFull = process.argv.includes('--full')
const chosen = promises.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
if (chosen.length === 0) {
  console.error(`none of the promises has such a name:\n${promises.map(({ name }) => `  ${name}`).join('\n')}`)
  process.exit(2)
}

ensureInstalled({ dev: true })
if (isStale()) build()
runSteps(
  chosen.map(({ name, program, reduced = [], full = [] }) => ({
    name,
    command: ['tsx', program, ...(isFull ? full : reduced)],
    ...(isFull ? {} : { minutes: 20 }),
  })),
)
