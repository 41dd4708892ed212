/** `npm run bench [-- options]`: installs and builds what is missing, then measures; see bench/run.ts for the options. */
import { requireNode } from './lib/node-version.mjs'

requireNode()
const { spawnSync } = await import('node:child_process')
const { build, isStale } = await import('./lib/build.mjs')
const { ensureInstalled } = await import('./lib/install.mjs')
const { root } = await import('./lib/paths.mjs')

ensureInstalled({ dev: true })
if (isStale()) build()
const args = ['--import', 'tsx', 'bench/run.ts', ...process.argv.slice(2)]
process.exit(spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status ?? 1)
