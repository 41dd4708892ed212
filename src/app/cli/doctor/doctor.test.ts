import { expect, it } from 'vitest'
import type { DatabaseFacts } from '../../../platform/database/inspect.js'
import { judgeClock, judgeConnections, judgeSchema, judgeVersion } from './database.js'
import { judgeDirectory, judgeDisk, judgeNode } from './machine.js'
import {
  type CheckedDelivery,
  type CheckedEndpoint,
  judgeCluster,
  judgeDependencies,
  judgeEndpoint,
  judgeInstance,
} from './running.js'

it.each([
  ['20.20.1', 'problem'],
  ['18.99.0', 'problem'],
  ['20.20.2', 'warning'],
  ['21.0.0', 'warning'],
  ['22.1.0', 'ok'],
  ['24.11.1', 'ok'],
] as const)('Node %s is a matter of %s', (have, level) => {
  expect(judgeNode(have, '>=20.20.2')).toMatchObject({ level, found: expect.stringContaining(have) })
})

it.each([
  [100, 'problem', '100 MiB free'],
  [1_000, 'warning', '1000 MiB free'],
  [50_000, 'ok', '49 GiB free'],
] as const)('%d MiB of disk are a matter of %s', (free, level, found) => {
  expect(judgeDisk(free)).toMatchObject({ level, found })
})

it('a data directory is for its owner alone', () => {
  expect(judgeDirectory('/d', { mode: 0o40700, uid: 7 }, 7).level).toBe('ok')
  expect(judgeDirectory('/d', { mode: 0o40755, uid: 7 }, 7)).toMatchObject({
    level: 'warning',
    action: 'chmod 700 /d',
  })
  expect(judgeDirectory('/d', { mode: 0o40700, uid: 7 }, 8)).toMatchObject({
    level: 'warning',
    action: 'chown -R 8 /d',
  })
  expect(judgeDirectory('/d', { mode: 0o40700, uid: 7 }, 0).level).toBe('ok')
})

const facts: DatabaseFacts = {
  ...{ version: '18.1', versionNumber: 180_001, readOnly: false, connectionLimit: 97, foreignConnections: 0 },
  ...{ replicas: 1, clockAheadMs: 0, roundTripMs: 2, schemaVersion: 3, oldestWorkingCode: 3 },
}

it('a database is new enough and takes writes, or is a problem', () => {
  expect(judgeVersion(facts).level).toBe('ok')
  expect(judgeVersion({ ...facts, version: '14.9', versionNumber: 140_009 }).level).toBe('problem')
  expect(judgeVersion({ ...facts, readOnly: true })).toMatchObject({ level: 'problem', action: expect.any(String) })
})

it.each([
  [3, 3, 3, 'ok'],
  [0, 0, 3, 'ok'],
  [2, 2, 3, 'warning'],
  [4, 3, 3, 'warning'],
  [4, 4, 3, 'problem'],
] as const)(
  'schema %d, for code of %d or newer, and a Mirante of %d are a matter of %s',
  (have, oldest, want, level) => {
    expect(judgeSchema({ schemaVersion: have, oldestWorkingCode: oldest }, want).level).toBe(level)
  },
)

it.each([
  [0, 5, 'ok'],
  [1_900, 5, 'ok'],
  [3_000, 5, 'warning'],
  [-3_000, 5, 'warning'],
  // The answer took so long that nobody can say.
  [3_000, 6_000, 'ok'],
  [-300_000, 5, 'problem'],
] as const)(
  'a clock that is %d ms ahead at %d ms of round trip is a matter of %s',
  (clockAheadMs, roundTripMs, level) => {
    expect(judgeClock({ clockAheadMs, roundTripMs }).level).toBe(level)
  },
)

it('counts the connections that all replicas and gateways may take, besides those of others', () => {
  const level = (change: Partial<DatabaseFacts>, gateways = 1) =>
    judgeConnections({ ...facts, ...change }, gateways).level
  expect(level({})).toBe('ok')
  // Two processes of twelve each, and one: 25.
  expect(level({ connectionLimit: 25 })).toBe('warning')
  expect(level({ connectionLimit: 24 })).toBe('problem')
  expect(level({ connectionLimit: 30, foreignConnections: 6 })).toBe('problem')
  expect(level({ replicas: 5 })).toBe('problem')
  expect(level({}, 8)).toBe('problem')
})

const since = '2026-01-01T00:00:00.000Z'
const now = Date.parse('2026-01-01T00:05:00.000Z')

it.each([
  ['QR_REQUIRED', null, true, 'warning', 'mirante qr shop'],
  ['QR_REQUIRED', 'QR_EXPIRED', true, 'warning', '/restart'],
  ['AUTH_FAILURE', 'LOGOUT', true, 'problem', 'mirante qr shop'],
  ['DISCONNECTED', 'ATTEMPTS_EXHAUSTED', true, 'problem', '/restart'],
  ['RECONNECTING', 'CONNECTION_LOST', true, 'warning', 'mirante tail --instance shop'],
  ['RECONNECTING', 'STARTING', false, 'problem', 'Start a gateway'],
] as const)('an instance in %s (%s, held: %s) is a matter of %s', (connectionStatus, reason, isHeld, level, action) => {
  const instance = { id: 'ins_1', name: 'shop', enabled: true, connectionStatus, reason, since, healthy: false }
  const finding = judgeInstance(instance, { isHeld, now })
  expect(finding).toMatchObject({ level, action: expect.stringContaining(action) })
  expect(finding.found).toContain('for 5 min')
  expect(finding.found.includes('no gateway holds it')).toBe(!isHeld)
})

const endpoint: CheckedEndpoint = {
  ...{ id: 'whe_1', url: 'https://example.com/hook?token=hush', enabled: true, disabledReason: null },
  circuit: { state: 'closed', failingSince: null },
}
const deliveries = (...statuses: CheckedDelivery['status'][]) =>
  statuses.map((status) => ({ status, attemptCount: status === 'dropped' ? 0 : 1 }))

it('an endpoint fails when the newest delivery that was tried has failed', () => {
  expect(judgeEndpoint(endpoint, [])).toBeUndefined()
  expect(judgeEndpoint(endpoint, deliveries('delivered', 'delivered'))).toBeUndefined()
  expect(judgeEndpoint(endpoint, [{ status: 'pending', attemptCount: 0 }])).toBeUndefined()
  expect(judgeEndpoint(endpoint, deliveries('pending', 'delivered'))?.level).toBe('problem')
  expect(judgeEndpoint(endpoint, deliveries('exhausted'))?.level).toBe('problem')
  expect(judgeEndpoint(endpoint, deliveries('delivered', 'exhausted'))?.level).toBe('warning')
})

it.each(['open', 'half_open'])(
  'an endpoint whose circuit is %s is a problem, whatever its last deliveries were',
  (state) => {
    const failing = { ...endpoint, circuit: { state, failingSince: since } }
    expect(judgeEndpoint(failing, deliveries('delivered'))).toMatchObject({
      level: 'problem',
      found: expect.stringContaining(since),
    })
  },
)

it('an endpoint that Mirante disabled is a problem, one that its owner disabled a warning, and no token is shown', () => {
  const gone = judgeEndpoint({ ...endpoint, enabled: false, disabledReason: 'gone' }, [])
  expect(gone).toMatchObject({ level: 'problem', found: expect.stringContaining('https://example.com)') })
  expect(judgeEndpoint({ ...endpoint, enabled: false }, [])?.level).toBe('warning')
  expect(JSON.stringify(gone)).not.toContain('hush')
})

it('tells of processes that are gone and of what is wrong with the cluster', () => {
  const one = {
    ...{ incarnation: 'a', replica: 'r', role: 'web', slot: 0, version: '1.0.0', startedAt: since, alive: true },
    ...{ drained: false, report: null },
  }
  const sound = { schemaVersion: 12, problems: [], dependencies: [], leases: [] }
  expect(judgeCluster({ ...sound, processes: [one] })).toMatchObject([{ level: 'ok' }])
  const others = [{ ...one, alive: false, role: 'gateway' }]
  const problems = [{ code: 'versions_differ', found: 'Two versions.', action: 'Finish the update.' }]
  expect(judgeCluster({ ...sound, problems, processes: [one, ...others] })).toMatchObject([
    { level: 'warning', found: expect.stringContaining('r/gateway/0') },
    { level: 'warning', found: 'Two versions.', action: 'Finish the update.' },
  ])
})

it('tells of what the server depends on, every problem with its action', () => {
  const up = { name: 'postgres', status: 'up', meanwhile: null, latencyMs: 2, version: '18.1', problems: [] } as const
  const evicting = { code: 'evicting_policy', found: 'It evicts.', action: 'Set noeviction.' }
  const limping = {
    ...up,
    name: 'redis',
    status: 'degraded',
    meanwhile: 'Hints get lost.',
    problems: [evicting],
  } as const
  const down = { ...up, name: 'rabbitmq', status: 'down', latencyMs: null, version: null, problems: [] } as const
  expect(judgeDependencies([up, limping, down])).toMatchObject([
    { check: 'postgres', level: 'ok' },
    { check: 'redis', level: 'warning', found: 'It evicts. Hints get lost.', action: 'Set noeviction.' },
    { check: 'rabbitmq', level: 'problem', action: expect.any(String) },
  ])
})
