import type { Clock } from '../../kernel/clock.js'

/** Waits for `work` at most `ms`, then throws. The work itself goes on: treat it as "perhaps done". */
export async function within<Result>(clock: Clock, ms: number, work: Promise<Result>): Promise<Result> {
  const answered = new AbortController()
  const late = clock.sleep(ms, answered.signal).then(() => {
    throw new Error(`no answer within ${ms} ms`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    answered.abort()
  }
}
