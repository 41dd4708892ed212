/** CPU time and memory of a process and all its descendants, from /proc (Linux). */
import { readdirSync, readFileSync } from 'node:fs'

export interface Usage {
  readonly cpuMs: number
  readonly rssMb: number
  readonly processes: number
}

const TICK_MS = 10
const PAGE_MB = 4_096 / 1_048_576

/** Usage of a process tree now. A process that ended meanwhile counts no more: measure around living trees. */
export function usageOf(rootPid: number): Usage {
  const stats = readAll()
  const members = descendants(rootPid, stats)
  let cpuMs = 0
  let rssMb = 0
  for (const pid of members) {
    const stat = stats.get(pid)
    if (!stat) continue
    cpuMs += stat.ticks * TICK_MS
    rssMb += stat.pages * PAGE_MB
  }
  return { cpuMs, rssMb, processes: members.length }
}

interface Stat {
  readonly parent: number
  readonly ticks: number
  readonly pages: number
}

function readAll(): Map<number, Stat> {
  const stats = new Map<number, Stat>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const line = readFileSync(`/proc/${name}/stat`, 'utf8')
      // The second field is the command in brackets and may hold spaces: count from behind it.
      const fields = line
        .slice(line.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number)
      stats.set(Number(name), {
        parent: fields[1] ?? 0,
        ticks: (fields[11] ?? 0) + (fields[12] ?? 0),
        pages: fields[21] ?? 0,
      })
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return stats
}

function descendants(rootPid: number, stats: ReadonlyMap<number, Stat>): number[] {
  const members = [rootPid]
  for (let index = 0; index < members.length; index++) {
    for (const [pid, { parent }] of stats) if (parent === members[index]) members.push(pid)
  }
  return members
}
