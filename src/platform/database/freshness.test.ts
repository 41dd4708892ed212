import { expect, it } from 'vitest'
import { createFreshness } from './freshness.js'

it('shows what was committed before the newest moment whose position has been replayed', () => {
  const freshness = createFreshness()
  expect(freshness.visibleUntil).toBe(Number.NEGATIVE_INFINITY)
  freshness.notePrimary(100, 1, 10n)
  freshness.notePrimary(200, 1, 20n)
  freshness.notePrimary(300, 1, 30n)
  freshness.noteReplica(9n)
  expect(freshness.visibleUntil).toBe(Number.NEGATIVE_INFINITY)
  freshness.noteReplica(25n)
  expect(freshness.visibleUntil).toBe(200)
  freshness.noteReplica(25n)
  expect(freshness.visibleUntil).toBe(200)
  freshness.noteReplica(30n)
  expect(freshness.visibleUntil).toBe(300)
})

it('knows nothing any more when the primary is on another timeline, or another replica answers', () => {
  const freshness = createFreshness()
  freshness.notePrimary(100, 1, 10n)
  freshness.noteReplica(10n)
  freshness.notePrimary(200, 2, 8n)
  expect(freshness.visibleUntil).toBe(Number.NEGATIVE_INFINITY)
  freshness.noteReplica(9n)
  expect(freshness.visibleUntil).toBe(200)
  freshness.noteReplica(5n)
  expect(freshness.visibleUntil).toBe(Number.NEGATIVE_INFINITY)
})
