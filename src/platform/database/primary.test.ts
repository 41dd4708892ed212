import { expect, it } from 'vitest'
import { choosePrimary, type HostAnswer, type HostState, type Primary, whyNoPrimary } from './primary.js'

const host = (place: string) => ({ place, url: `postgres://${place}/db` })
const primaryOn = (timeline: number): HostAnswer => ({
  ...{ systemId: 'c', recovering: false, readOnly: false, timeline, position: 1n },
})
const standby: HostAnswer = { systemId: 'c', recovering: true, readOnly: true, timeline: null, position: 1n }
const states = (one: HostState['answer'], two: HostState['answer']): HostState[] => [
  { host: host('one'), answer: one },
  { host: host('two'), answer: two },
]
const known: Primary = { host: host('one'), systemId: 'c', timeline: 2 }
const placeOf = (primary: Primary | undefined) => primary?.host.place

it('is the host that takes writes, wherever it stands in the list', () => {
  expect(placeOf(choosePrimary(states(standby, primaryOn(1)), undefined))).toBe('two')
  expect(placeOf(choosePrimary(states(null, primaryOn(1)), undefined))).toBe('two')
})

it('hears all hosts before it chooses the first time: a primary of old looks like one', () => {
  expect(choosePrimary(states(primaryOn(1), undefined), undefined)).toBeUndefined()
  expect(placeOf(choosePrimary(states(primaryOn(1), primaryOn(2)), undefined))).toBe('two')
})

it('follows a promotion, and never goes back to a timeline that has been left', () => {
  expect(placeOf(choosePrimary(states(primaryOn(2), primaryOn(3)), known))).toBe('two')
  expect(choosePrimary(states(primaryOn(1), null), known)).toBeUndefined()
  expect(whyNoPrimary(states(primaryOn(1), null), known)).toMatch(/one is a primary of old.*two does not answer/)
})

it('is none while there are standbys alone, or hosts that were set read-only', () => {
  expect(choosePrimary(states(standby, standby), known)).toBeUndefined()
  expect(choosePrimary(states({ ...primaryOn(2), readOnly: true }, standby), known)).toBeUndefined()
})

it('is never one of another cluster', () => {
  const foreign = { ...primaryOn(9), systemId: 'other' }
  expect(placeOf(choosePrimary(states(primaryOn(2), foreign), known))).toBe('one')
  expect(choosePrimary(states(primaryOn(2), foreign), undefined)).toBeUndefined()
  expect(whyNoPrimary(states(primaryOn(2), foreign), undefined)).toMatch(/different clusters/)
})
