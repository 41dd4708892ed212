import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ProcessPlan } from './roles.js'

/** `child.js` beside this file, or `child.ts` where the sources run. */
export const CHILD_MODULE = fileURLToPath(
  new URL(`./child${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
)

/** Forks a process for the plan. Its arguments are the name, for people, and the roles, to load the right code at once. */
export function forkChild(plan: ProcessPlan, module: string, execArgv: readonly string[]): ChildProcess {
  return fork(module, [plan.name, plan.roles.join()], {
    execArgv: [...execArgv],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}
