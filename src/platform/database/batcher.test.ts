import { describe, expect, it } from 'vitest'
import { createBatcher } from './batcher.js'

/** A flush that the test lets go by hand. */
function heldFlush() {
  const batches: { items: readonly number[]; finish: () => void; fail: (error: Error) => void }[] = []
  const flush = (items: readonly number[]) =>
    new Promise<number[]>((resolve, reject) => {
      batches.push({ items, finish: () => resolve(items.map((item) => item * 10)), fail: reject })
    })
  return { batches, flush }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('a batcher', () => {
  it('flushes at once what comes alone, and together what comes meanwhile', async () => {
    const { batches, flush } = heldFlush()
    const batcher = createBatcher({ flush, maxItems: 10 })
    const first = batcher.add(1)
    await turn()
    const others = [2, 3, 4].map((item) => batcher.add(item))
    await turn()
    expect(batches.map(({ items }) => items)).toEqual([[1]])
    expect(batcher.waiting).toBe(3)
    batches[0]?.finish()
    expect(await first).toBe(10)
    await turn()
    expect(batches.map(({ items }) => items)).toEqual([[1], [2, 3, 4]])
    batches[1]?.finish()
    expect(await Promise.all(others)).toEqual([20, 30, 40])
    await batcher.idle()
  })

  it('takes at most so many, and a second flush only when many wait', async () => {
    const { batches, flush } = heldFlush()
    const batcher = createBatcher({ flush, maxItems: 2, secondAbove: 3 })
    const results = [1, 2, 3, 4, 5, 6].map((item) => batcher.add(item))
    await turn()
    expect(batches.map(({ items }) => items)).toEqual([
      [1, 2],
      [3, 4],
    ])
    for (let index = 0; index < 3; index++) {
      batches[index]?.finish()
      await turn()
    }
    expect(await Promise.all(results)).toEqual([10, 20, 30, 40, 50, 60])
  })

  it('fails a batch without failing the next', async () => {
    const { batches, flush } = heldFlush()
    const batcher = createBatcher({ flush, maxItems: 10 })
    const first = batcher.add(1)
    await turn()
    const second = batcher.add(2)
    batches[0]?.fail(new Error('no'))
    await expect(first).rejects.toThrow('no')
    await turn()
    batches[1]?.finish()
    expect(await second).toBe(20)
  })

  it('fails an item that the flush forgot', async () => {
    const batcher = createBatcher<number, number>({ flush: async () => [1], maxItems: 10 })
    const [one, two] = await Promise.allSettled([batcher.add(1), batcher.add(2)])
    expect(one).toEqual({ status: 'fulfilled', value: 1 })
    expect(two.status).toBe('rejected')
  })
})
