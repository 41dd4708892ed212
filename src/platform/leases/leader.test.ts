import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { silentLogger } from '../../kernel/logger.js'
import { seededRandom } from '../../kernel/random.js'
import { createMemoryLeaseStore, createMemoryLeases } from './explorer/memory-leases.js'
import { createLeadership, type Leadership } from './leader.js'
import { type Incarnation, leaseTerms, schedulerResource } from './lease.js'
import { createTestClock } from './testing/test-clock.js'

const terms = leaseTerms(45_000)

interface Candidate {
  readonly holder: Incarnation
  readonly leadership: Leadership
  readonly news: string[]
}

function createElection() {
  const clock = createTestClock()
  const leases = createMemoryLeases()
  return { clock, leases, stand }

  async function stand(): Promise<Candidate> {
    const holder = randomUUID() as Incarnation
    const news: string[] = []
    leases.setLock(holder, 'held')
    const leadership = createLeadership({
      store: createMemoryLeaseStore(leases),
      holder,
      terms,
      clock,
      random: seededRandom(1),
      logger: silentLogger,
      onElected: ({ epoch }) => news.push(`elected ${epoch}`),
      onDeposed: (reason) => news.push(`deposed ${reason}`),
    })
    await leadership.start()
    await clock.pass(0)
    return { holder, leadership, news }
  }
}

it('has one leader at a time, whose term has a fence', async () => {
  const { clock, stand } = createElection()
  const [first, second] = [await stand(), await stand()]
  await clock.pass(5 * 60_000)
  expect([first.leadership.isLeader(), second.leadership.isLeader()]).toEqual([true, false])
  expect(first.leadership.lease()).toMatchObject({ resource: schedulerResource, epoch: 1n })
  expect(second.leadership.lease()).toBeUndefined()
  await first.leadership.stop()
  await second.leadership.stop()
})

it('passes on at once when the leader stops and the others are told', async () => {
  const { clock, stand } = createElection()
  const [first, second] = [await stand(), await stand()]
  await clock.pass(1_000)
  await first.leadership.stop()
  second.leadership.poke()
  await clock.pass(0)
  expect([first.leadership.isLeader(), second.leadership.isLeader()]).toEqual([false, true])
  expect([first.news, second.news]).toEqual([['elected 1'], ['elected 2']])
  await second.leadership.stop()
})

it('deposes a leader that was replaced', async () => {
  const { clock, leases, stand } = createElection()
  const [first, second] = [await stand(), await stand()]
  leases.setLock(first.holder, 'free')
  await clock.pass(60_000)
  expect([first.leadership.isLeader(), second.leadership.isLeader()]).toEqual([false, true])
  expect(first.news).toEqual(['elected 1', 'deposed taken'])
  await first.leadership.stop()
  await second.leadership.stop()
})
