/** A process and all that it started, from /proc: what must die, or stand still, as one. */
import { readFileSync } from 'node:fs'

/** The process itself first; those that have ended meanwhile are left out. */
export function treeOf(root: number): number[] {
  const members = [root]
  for (let index = 0; index < members.length; index++) members.push(...childrenOf(members[index] ?? 0))
  return members
}

/** Sends the signal to all of them, and again to those that were started meanwhile, until there are no more. */
export function signalTree(root: number, signal: NodeJS.Signals): void {
  const told = new Set<number>()
  for (;;) {
    const untold = treeOf(root).filter((pid) => !told.has(pid))
    if (untold.length === 0) return
    for (const pid of untold) {
      told.add(pid)
      signalProcess(pid, signal)
    }
  }
}

export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended by itself meanwhile.
  }
}

/** Its words; none when it is gone. */
export function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}
