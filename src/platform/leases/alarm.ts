import type { Clock } from '../../kernel/clock.js'

/** Calls `ring` after `ms`. The function returned calls that off. */
export type SetAlarm = (ms: number, ring: () => void) => () => void

/** Alarms of this clock. */
export function alarmsOf(clock: Clock): SetAlarm {
  return (ms, ring) => {
    const off = new AbortController()
    // A reason of our own: the default one is an exception with a stack trace, many times the cost of all the rest.
    const callOff = () => off.abort('called off')
    clock.sleep(ms, off.signal).then(ring, () => {})
    return callOff
  }
}

/**
 * Waits for `work` at most `ms`, then throws. The work itself goes on: whatever it brings afterwards is ignored, so the caller
 * must treat it as "perhaps done".
 */
export function within<Result>(setAlarm: SetAlarm, ms: number, work: Promise<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    const callOff = setAlarm(ms, () => reject(new Error(`no answer within ${ms} ms`)))
    work.then(
      (result) => {
        callOff()
        resolve(result)
      },
      (error: unknown) => {
        callOff()
        reject(error)
      },
    )
  })
}
