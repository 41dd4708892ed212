import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { root } from './paths.mjs'

const SOURCES = ['src', 'simulator', 'package.json', 'tsconfig.json', 'tsconfig.build.json']
const dist = join(root, 'dist')
const stamp = join(dist, '.built')

/** Whether `dist` is missing or older than a source; a folder's own time tells of what was removed. */
export function isStale() {
  if (!existsSync(stamp)) return true
  const builtAt = statSync(stamp).mtimeMs
  return SOURCES.some((source) => newestIn(join(root, source)) > builtAt)
}

/** Compiles beside the old build and then takes its place, so that a failed build leaves what ran before. */
export function build() {
  const startedAt = new Date()
  const fresh = join(root, 'dist.new')
  const old = join(root, 'dist.old')
  for (const path of [fresh, old]) rmSync(path, { recursive: true, force: true })
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json', '--outDir', fresh], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) {
    rmSync(fresh, { recursive: true, force: true })
    console.error('the build failed; the reasons are above')
    process.exit(1)
  }
  cpSync(join(root, 'src'), join(fresh, 'src'), {
    recursive: true,
    filter: (path) => statSync(path).isDirectory() || path.endsWith('.sql'),
  })
  chmodSync(join(fresh, 'src', 'main.js'), 0o755)
  // Of the start of the build: a source that changed meanwhile is newer.
  writeFileSync(join(fresh, '.built'), startedAt.toISOString())
  utimesSync(join(fresh, '.built'), startedAt, startedAt)
  if (existsSync(dist)) renameSync(dist, old)
  renameSync(fresh, dist)
  rmSync(old, { recursive: true, force: true })
}

function newestIn(path) {
  const own = statSync(path)
  if (!own.isDirectory()) return own.mtimeMs
  const within = readdirSync(path)
    .filter((name) => !name.endsWith('.test.ts'))
    .map((name) => newestIn(join(path, name)))
  return Math.max(own.mtimeMs, ...within)
}
