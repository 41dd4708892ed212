/**
 * How far a replica has come, in moments of this process's own monotonic clock. Where the primary's log stood is noted with
 * the moment before it was asked; when the replica has replayed that far, everything that was committed before that moment can
 * be seen on it. No clock of another machine is believed. Pure.
 */
export interface Freshness {
  /** At `mono` or later the primary's log stood at `position`, on this timeline. */
  notePrimary(mono: number, timeline: number, position: bigint): void
  /** The replica has replayed up to `position`. */
  noteReplica(position: bigint): void
  /** What was committed before this moment can be seen on the replica. */
  readonly visibleUntil: number
}

const MAX_NOTES = 64

export function createFreshness(): Freshness {
  let notes: { readonly mono: number; readonly position: bigint }[] = []
  let timeline: number | undefined
  let replayed = -1n
  let visibleUntil = Number.NEGATIVE_INFINITY

  return {
    notePrimary(mono, current, position) {
      // Positions of two timelines do not compare.
      if (current !== timeline) forget()
      timeline = current
      notes = [...notes.slice(1 - MAX_NOTES), { mono, position }]
    },
    noteReplica(position) {
      // Another server answers under the same name, or this one began anew.
      if (position < replayed) visibleUntil = Number.NEGATIVE_INFINITY
      replayed = position
      const seen = notes.filter((note) => note.position <= position)
      visibleUntil = Math.max(visibleUntil, ...seen.map(({ mono }) => mono))
      notes = notes.filter((note) => note.position > position)
    },
    get visibleUntil() {
      return visibleUntil
    },
  }

  function forget(): void {
    notes = []
    replayed = -1n
    visibleUntil = Number.NEGATIVE_INFINITY
  }
}
