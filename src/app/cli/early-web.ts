import type { ChildProcess } from 'node:child_process'
import { CHILD_MODULE, forkChild } from '../fork-child.js'
import { allRoles, planProcesses } from '../roles.js'

/**
 * The process with the HTTP API has the most code to load, and a start waits for nothing longer. So it is forked before this
 * process reads its own configuration; until it is told what to run it does nothing but load, and it ends with its parent.
 * Undefined where the arguments ask for another layout.
 */
export function forkEarlyWeb(rawArgs: readonly string[]): ChildProcess | undefined {
  if (rawArgs.some((word) => /^--(single|roles)\b/.test(word))) return undefined
  const [web] = planProcesses({ roles: allRoles, gateways: 1, single: false })
  if (!web) return undefined
  const child = forkChild(web, CHILD_MODULE, process.execArgv)
  // It must not hold up the end of a process whose arguments turn out to be wrong; its keeper takes that back.
  child.unref()
  child.channel?.unref()
  return child
}
