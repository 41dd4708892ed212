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

/**
 * `reduced: false`: it takes more minutes, or more of the machine, than each change should have to wait for.
 * @type {{ name: string, program: string, reduced?: string[] | false, full?: string[] }[]}
 */
const promises = [
  {
    name: 'G1 a holder that was frozen and taken over writes nothing',
    program: 'test/chaos/g1-zombie.ts',
    reduced: ['--reduced', '--no-controls'],
  },
  {
    name: 'G2 the lease protocol holds in every schedule, and its mutants do not',
    program: 'src/platform/leases/explorer/run.ts',
    reduced: ['--schedules', '40000'],
  },
  {
    name: 'G3 a Redis that lies, forgets and dies moves no number',
    program: 'test/chaos/g3-redis.ts',
    reduced: false,
  },
  {
    name: 'G4 a replica that is cut off from PostgreSQL is replaced, and Redis is not missed',
    program: 'test/chaos/g4-partition.ts',
    reduced: false,
  },
  {
    name: 'G5 numbers go on elsewhere when their replica is killed, frozen or restarted',
    program: 'test/chaos/g5-failover.ts',
    reduced: false,
  },
  {
    name: 'G6 of many takers one wins, and a number that is kicked out again and again keeps its login',
    program: 'test/chaos/g6-contention.ts',
    reduced: ['--reduced'],
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
    name: 'G9 nothing is lost while PostgreSQL, Redis, RabbitMQ and NGINX die in turn',
    program: 'test/chaos/g9-services.ts',
    reduced: false,
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
  {
    name: 'G19 stopping loses nothing, and health tells the truth',
    program: 'test/chaos/g19-shutdown.ts',
    reduced: false,
  },
  {
    name: 'G20 nobody behind the balancer feels the death of a replica',
    program: 'test/chaos/g20-balancer.ts',
    reduced: false,
  },
  {
    name: 'G21 a synchronous standby that is promoted loses and doubles nothing',
    program: 'test/chaos/g21-failover.ts',
    reduced: false,
  },
  {
    name: 'the image: what its Dockerfile does, step by step',
    program: 'test/chaos/image-steps.ts',
    reduced: false,
  },
]

const words = process.argv.slice(2).filter((word) => !word.startsWith('-'))
const isFull = process.argv.includes('--full')
const chosen = promises.filter(({ name, reduced }) =>
  words.length === 0 ? isFull || reduced !== false : words.some((word) => name.includes(word)),
)
if (chosen.length === 0) {
  console.error(`none of the promises has such a name:\n${promises.map(({ name }) => `  ${name}`).join('\n')}`)
  process.exit(2)
}

ensureInstalled({ dev: true })
if (isStale()) build()
runSteps(
  chosen.map(({ name, program, reduced = [], full = [] }) => ({
    name,
    command: ['tsx', program, ...(isFull ? full : reduced || ['--reduced'])],
    ...(isFull ? {} : { minutes: 20 }),
  })),
)
