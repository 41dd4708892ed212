import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './paths.mjs'

/** Installs exactly what the lockfile says where something of it is missing; `dev` also counts what only building needs. */
export function ensureInstalled({ dev }) {
  const missing = missingPackages(dev)
  if (missing.length === 0) return
  console.error(`installing packages (${missing.length} missing) …`)
  // Warnings of packages about one another tell a user nothing that they could act upon; errors are shown.
  run(['ci', dev ? '--include=dev' : '--omit=dev', '--loglevel=error', '--no-audit', '--no-fund'])
}

function missingPackages(dev) {
  const locked = Object.entries(readPackages(join(root, 'package-lock.json')))
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'))
  return locked
    .filter(([path, entry]) => path !== '' && !entry.optional && !entry.devOptional && (dev || !entry.dev))
    .filter(([path, entry]) => installed[path]?.version !== entry.version)
    .map(([path]) => path)
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages ?? {}
  } catch {
    return {}
  }
}

/** The npm that runs this script, or else the one in the path. Progress goes to stderr: stdout is the product's. */
function run(args) {
  const npm = process.env.npm_execpath
  const [command, first] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []]
  const { status, error } = spawnSync(command, [...first, ...args], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status === 0) return
  console.error(`npm ${args.join(' ')} failed${error ? `: ${error.message}` : ''}; the reason is above`)
  process.exit(1)
}
