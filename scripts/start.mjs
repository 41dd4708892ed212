/**
 * `npm start` on anything from a fresh clone on: installs what is missing, builds what is stale, then becomes Mirante in this
 * very process. `npm start -- <command>` runs another command than `serve`.
 */
import { requireNode } from './lib/node-version.mjs'

requireNode()
const { join } = await import('node:path')
const { pathToFileURL } = await import('node:url')
const { build, isStale } = await import('./lib/build.mjs')
const { ensureInstalled } = await import('./lib/install.mjs')
const { root } = await import('./lib/paths.mjs')

const stale = isStale()
ensureInstalled({ dev: stale })
if (stale) {
  console.error('building …')
  build()
}

const main = join(root, 'dist', 'src', 'main.js')
const given = process.argv.slice(2)
const isCommand = given[0] !== undefined && !given[0].startsWith('-')
process.argv.splice(1, Number.POSITIVE_INFINITY, main, ...(isCommand ? given : ['serve', ...given]))
await import(pathToFileURL(main).href)
