import { spawnSync } from 'node:child_process'
import { root } from './paths.mjs'

/**
 * Runs every step, also after a failure, and prints a verdict for each and a closing line. Exits non-zero when one failed.
 *
 * @param {{ name: string, command: string[], minutes?: number }[]} steps commands of node or of node_modules/.bin; what takes
 *   longer than its `minutes` hangs, and is ended
 */
export function runSteps(steps) {
  const env = { ...process.env, PATH: `${root}/node_modules/.bin:${process.env.PATH}` }
  const verdicts = steps.map(({ name, command: [program, ...args], minutes = 0 }) => {
    console.log(`\n── ${name}`)
    const startedAt = performance.now()
    const timeout = minutes * 60_000
    const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', env, timeout })
    if (error) console.log(error.code === 'ETIMEDOUT' ? `not over after ${minutes} minutes: ended` : error.message)
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    return { name, passed: status === 0, seconds }
  })
  console.log('')
  for (const { name, passed, seconds } of verdicts) console.log(`${passed ? 'pass' : 'FAIL'}  ${name} (${seconds} s)`)
  const failed = verdicts.filter(({ passed }) => !passed).length
  console.log(`${verdicts.length - failed} passed, ${failed} failed`)
  process.exit(failed > 0 ? 1 : 0)
}
