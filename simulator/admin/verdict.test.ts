import { describe, expect, it } from 'vitest'
import { judgeNumbers } from './verdict.js'

describe('the judge of a chat', () => {
  it.each([
    [[1, 2, 3], {}, { lost: [], doubled: 0, reordered: 0 }],
    [[0, 1, 2], {}, { lost: [], doubled: 0, reordered: 0 }],
    [[2, 3, 5], {}, { lost: [1, 4], doubled: 0, reordered: 0 }],
    [[1, 3, 2], {}, { lost: [], doubled: 0, reordered: 1 }],
    [[1, 2, 2, 3], {}, { lost: [], doubled: 1, reordered: 0 }],
    [[100, 101], { first: 100 }, { lost: [], doubled: 0, reordered: 0 }],
    [[1, 2], { last: 4 }, { lost: [3, 4], doubled: 0, reordered: 0 }],
    [[], { last: 2 }, { lost: [1, 2], doubled: 0, reordered: 0 }],
    [[], {}, { lost: [], doubled: 0, reordered: 0 }],
  ])('of %j expecting %j says %j', (numbers, expected, verdict) => {
    expect(judgeNumbers(numbers, expected)).toEqual(verdict)
  })
})
