import type { Clock } from '../../kernel/clock.js'
import type { SetAlarm } from './alarm.js'

export interface Nap {
  /** Sleeps; `wake` and `end` cut it short. */
  light(ms: number): Promise<void>
  /** Sleeps; only `end` cuts it short. */
  whole(ms: number): Promise<void>
  wake(): void
  /** No sleep from now on. */
  end(): void
}

export interface NapOptions {
  readonly clock: Pick<Clock, 'mono'>
  readonly setAlarm: SetAlarm
  /** Hears by how many ms each sleep was too long: this process stood still for that time. */
  readonly onLate: (lateMs: number) => void
}

/** The sleep of one loop. */
export function createNap({ clock, setAlarm, onLate }: NapOptions): Nap {
  let over = false
  let sleeping: { readonly light: boolean; readonly rouse: () => void } | undefined

  return {
    light: (ms) => sleep(ms, true),
    whole: (ms) => sleep(ms, false),
    wake() {
      if (sleeping?.light) sleeping.rouse()
    },
    end() {
      over = true
      sleeping?.rouse()
    },
  }

  async function sleep(ms: number, light: boolean): Promise<void> {
    if (over) return
    const asleepAt = clock.mono()
    await new Promise<void>((rouse) => {
      const callOff = setAlarm(ms, rouse)
      sleeping = {
        light,
        rouse() {
          callOff()
          rouse()
        },
      }
    })
    sleeping = undefined
    onLate(clock.mono() - asleepAt - ms)
  }
}
