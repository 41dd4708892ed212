import { expect, it } from 'vitest'
import { type ClusterFacts, findClusterProblems } from './cluster-problems.js'
import type { ProcessRow } from './cluster-store.js'

const gateway: ProcessRow = {
  ...{ incarnation: 'a', replica: 'one', role: 'gateway', slot: 0, version: '1.0.0', started_at: new Date(0) },
  ...{ alive: true, drained: false, report_age_ms: 1_000, built_for: 12, held: 3, open: 3, capacity: 200 },
  ...{ draining: false, clock_ahead_ms: 5n, rss_bytes: 1n, dependencies: [] },
}
const other: ProcessRow = { ...gateway, incarnation: 'b', replica: 'two' }
const sound: ClusterFacts = {
  ...{ processes: [gateway, other], schemaVersion: 12, oldestWorkingCode: 12, wantedCount: 10 },
}
const codes = (change: Partial<ClusterFacts>) => findClusterProblems({ ...sound, ...change }).map(({ code }) => code)
const withOther = (change: Partial<ProcessRow>) => ({ processes: [gateway, { ...other, ...change }] })

it('has nothing to say of a sound cluster, nor of what has gone', () => {
  expect(codes({})).toEqual([])
  expect(codes(withOther({ alive: false, replica: 'one', version: '0.9.0', clock_ahead_ms: 900_000n }))).toEqual([])
})

it.each<[string, Partial<ProcessRow>, Partial<ClusterFacts>]>([
  ['same_name', { replica: 'one' }, {}],
  ['clock_apart', { clock_ahead_ms: -300_000n }, {}],
  ['versions_differ', { version: '1.1.0' }, {}],
  ['schema_newer', { built_for: 11 }, { oldestWorkingCode: 11 }],
  ['schema_too_new', { built_for: 11 }, {}],
  ['schema_older', { built_for: 13 }, {}],
  ['silent', { report_age_ms: 60_000 }, {}],
  ['no_room', { capacity: 5 }, { wantedCount: 206 }],
  ['no_room', { drained: true }, { wantedCount: 201 }],
])('names %s', (code, process, facts) => {
  expect(codes({ ...withOther(process), ...facts })).toEqual([code])
})

it('tells of numbers that no gateway takes', () => {
  const web = { ...gateway, capacity: null, held: null, open: null }
  expect(codes({ processes: [web] })).toEqual(['no_gateway'])
  expect(codes({ processes: [web], wantedCount: 0 })).toEqual([])
  expect(codes({ processes: [{ ...gateway, drained: true }] })).toEqual(['no_gateway'])
})

it('does not take a predecessor whose lock outlives it for a second replica of the name', () => {
  expect(codes(withOther({ replica: 'one', report_age_ms: 40_000 }))).toEqual(['silent'])
})

it('blames the clock of a replica once, however many processes it has', () => {
  const slot = { ...other, slot: 1, clock_ahead_ms: 300_000n }
  expect(codes({ processes: [gateway, { ...slot, slot: 0 }, slot] })).toEqual(['clock_apart'])
})
