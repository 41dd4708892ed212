/**
 * `npm test`: installs what is missing, builds what is stale (some tests run the product as its users do), runs the tests,
 * and says at the end what was skipped and why.
 */
import { requireNode } from './lib/node-version.mjs'

requireNode()
const { spawnSync } = await import('node:child_process')
const { join } = await import('node:path')
const { build, isStale } = await import('./lib/build.mjs')
const { ensureInstalled } = await import('./lib/install.mjs')
const { root } = await import('./lib/paths.mjs')

ensureInstalled({ dev: true })
if (isStale()) build()
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
const reporters = ['--reporter=default', `--reporter=${join(root, 'scripts', 'lib', 'skipped-reporter.mjs')}`]
const { status } = spawnSync(process.execPath, [vitest, 'run', ...reporters, ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
})
process.exit(status ?? 1)
