import { expect, it } from 'vitest'
import { createTurns } from './turns.js'

/** Work that says when it begins, and ends when it is told to. */
function work(name: number, log: number[]) {
  let end: () => void = () => {}
  let fail: () => void = () => {}
  const over = new Promise<number>((resolve, reject) => {
    end = () => resolve(name)
    fail = () => reject(new Error(`${name} failed`))
  })
  const run = (): Promise<number> => {
    log.push(name)
    return over
  }
  return { end, fail, run }
}

it.each([1, 2])('lets %d run at a time, in the order in which they came, also after a failure', async (most) => {
  const begun: number[] = []
  const turns = createTurns(most)
  const all = [0, 1, 2, 3].map((name) => work(name, begun))
  const results = all.map(({ run }) => turns.take(run))
  for (const [turn, { end, fail }] of all.entries()) {
    expect(begun).toEqual([0, 1, 2, 3].slice(0, turn + most))
    if (turn === 1) fail()
    else end()
    await results[turn]?.catch(() => {})
  }
  expect((await Promise.allSettled(results)).map(({ status }) => status)).toEqual([
    ...['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
  ])
  const late = work(4, begun)
  late.end()
  expect(await turns.take(late.run)).toBe(4)
})
