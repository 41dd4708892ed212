import { requireNode } from './lib/node-version.mjs'

requireNode()
const { ensureInstalled } = await import('./lib/install.mjs')
ensureInstalled({ dev: true })
const { build } = await import('./lib/build.mjs')
build()
