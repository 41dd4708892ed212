/**
 * `node scripts/complete-lock.mjs`, after `npm install` has changed package-lock.json. A registry that has not the builds of
 * a package for every platform leaves those out of the lockfile, and then `npm ci` refuses it everywhere. This puts them
 * back, without a checksum: whoever is on such a platform gets the exact version from a registry that has it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib/paths.mjs'

const file = join(root, 'package-lock.json')
const lock = JSON.parse(readFileSync(file, 'utf8'))
const missing = Object.entries(lock.packages).flatMap(([path, entry]) =>
  Object.entries(entry.optionalDependencies ?? {})
    .filter(([name]) => !lock.packages[`node_modules/${name}`] && !lock.packages[`${path}/node_modules/${name}`])
    .map(([name, version]) => [`node_modules/${name}`, buildFor(name, version, entry)]),
)
const packages = [...Object.entries(lock.packages), ...missing].sort(([left], [right]) => (left < right ? -1 : 1))
writeFileSync(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(packages) }, null, 2)}\n`)
console.error(`${missing.length} platform builds were added`)

/** Platform, processor and C library as the names of such packages tell them. */
function buildFor(name, version, { dev }) {
  const os = /\b(android|darwin|linux|win32|freebsd|openharmony)\b/.exec(name)?.[1]
  const cpu = /-(arm64|arm|x64|ia32|ppc64|riscv64|s390x)\b/.exec(name)?.[1]
  const libc = os !== 'linux' ? undefined : /musl/.test(name) ? 'musl' : /gnu/.test(name) ? 'glibc' : undefined
  if (!os || !cpu) throw new Error(`${name} is optional, missing, and not named after a platform: add it by hand`)
  return {
    version: version.replace(/^\^/, ''),
    cpu: [cpu],
    ...(dev ? { dev } : {}),
    ...(libc ? { libc: [libc] } : {}),
    optional: true,
    os: [os],
  }
}
