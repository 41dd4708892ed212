/** Keeps the dependency rule of docs/ARCHITECTURE.md, by reading the imports of every source. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')

interface Module {
  /** Relative to the root, such as `src/kernel/ids.ts`. */
  readonly path: string
  readonly source: string
  /** Our own modules that it imports. */
  readonly imports: readonly Import[]
}

interface Import {
  readonly to: string
  /** Gone when it runs. */
  readonly typeOnly: boolean
}

const modules = ['src', 'simulator'].flatMap((folder) => readModules(join(root, folder)))
/** What runs when Mirante runs; helpers of tests that stand beside their subjects are not of it. */
const product = reachableFrom(['src/main.ts', 'src/app/child.ts']).filter(({ path }) => path.startsWith('src/'))

/** Left to right: a feature may import those before it. */
const features = [
  ...['tenants', 'events', 'contacts', 'instances', 'messages', 'conversations', 'campaigns'],
  ...['webhooks', 'billing', 'stats', 'ops'],
]

/**
 * What needs a server, a library of the outside or a clock of its own. Everything else in `platform` is a port or a helper,
 * and features may use it.
 */
const adapters = [
  /^src\/platform\/database\/(postgres|embedded|migrate|directory-lock)/,
  /^src\/platform\/whatsapp\/(baileys|fake)\//,
  /^src\/platform\/jobs\/(job-store|runner|cron|create-jobs|dispatch\/)/,
  /^src\/platform\/http\/(server|openapi)\b/,
  /^src\/platform\/media\/fs\b/,
  /^src\/platform\/rabbitmq\/rabbit-client\b/,
  /^src\/platform\/redis\/queue-connection\b/,
  /^src\/platform\/egress\/(http-client|safe-dns)\b/,
  /^src\/platform\/leases\/(lease-store|lease-keeper|held-leases|incarnation|process-store|leader|redis-mutex|process-count|process-count-store)\.ts$/,
  /^src\/platform\/redis\/(ioredis|redis-dependency)\b/,
  /^src\/platform\/counters\/(memory|redis|postgres|quota-store)/,
  /^src\/platform\/cache\/(memory|redis)\b/,
  /^src\/platform\/observability\/(logger|metrics)\b/,
]

test('there are modules to judge, and their imports were found', () => {
  expect(product.length).toBeGreaterThan(50)
  expect(product.flatMap(({ imports }) => imports).length).toBeGreaterThan(product.length)
})

test('kernel imports nothing of ours', () => {
  expect(violations('src/kernel/', (to) => to.startsWith('src/kernel/'))).toEqual([])
})

test('platform imports kernel and platform only', () => {
  expect(violations('src/platform/', (to) => /^src\/(kernel|platform)\//.test(to))).toEqual([])
})

test('a folder of platform imports of another one its ports and helpers, never an adapter', () => {
  const wrong = edges().filter(
    ({ from, to }) => isIn('src/platform/', from) && folderOf(from) !== folderOf(to) && isAdapter(to),
  )
  expect(wrong.map(describe)).toEqual([])
})

test('features import no adapter, no app and no simulator', () => {
  const wrong = edges().filter(
    ({ from, to, typeOnly }) =>
      isIn('src/features/', from) &&
      // The type of a small port may stand beside its only adapter.
      (!/^src\/(kernel|platform|features)\//.test(to) || (isAdapter(to) && !typeOnly)),
  )
  expect(wrong.map(describe)).toEqual([])
})

test('calls go left: a feature imports only itself and the features before it', () => {
  const position = (path: string) => features.indexOf(path.split('/')[2] ?? '')
  expect(product.filter(({ path }) => isIn('src/features/', path) && position(path) < 0)).toEqual([])
  const wrong = edges().filter(
    ({ from, to }) => isIn('src/features/', from) && isIn('src/features/', to) && position(to) > position(from),
  )
  expect(wrong.map(describe)).toEqual([])
})

test('nothing imports app but app and main', () => {
  const wrong = edges().filter(
    ({ from, to }) => isIn('src/app/', to) && !isIn('src/app/', from) && from !== 'src/main.ts',
  )
  expect(wrong.map(describe)).toEqual([])
})

test('the simulator imports nothing of src, and only the commands that run it import the simulator', () => {
  const out = edges(modules).filter(({ from, to }) => isIn('simulator/', from) && !isIn('simulator/', to))
  const into = edges()
    .filter(({ to }) => isIn('simulator/', to))
    .map(({ from }) => from)
  expect(out.map(describe)).toEqual([])
  expect(into.filter((from) => !/^src\/app\/cli\/(simulator|demo-world)\.ts$/.test(from))).toEqual([])
})

test('no module imports itself by way of others', () => {
  expect(findCycles(modules, ({ typeOnly }) => !typeOnly)).toEqual([])
  expect(findCycles(product, () => true)).toEqual([])
})

test('the environment is read in config.ts alone', () => {
  expect(product.filter(({ source }) => /\bprocess\.env\b/.test(source)).map(({ path }) => path)).toEqual([
    'src/app/config.ts',
  ])
})

test('SQL stands in stores', () => {
  // record.ts and fence.ts are parts of other stores' statements.
  const mayHaveSql = /-store\.ts$|^src\/platform\/database\/|\/events\/record\.ts$|\/leases\/fence\.ts$/
  const withSql = product.filter(({ source }) => /from 'sql-template-tag'/.test(source)).map(({ path }) => path)
  expect(withSql.length).toBeGreaterThan(5)
  expect(withSql.filter((path) => !mayHaveSql.test(path))).toEqual([])
})

test('there are no classes but errors', () => {
  const isError = (name = '') => name.endsWith('Error')
  const classes = product.flatMap(({ path, source }) =>
    [...source.matchAll(/^(?:export )?(?:abstract )?class (\w+)(?: extends (\w+))?/gm)]
      .filter(([, name, parent]) => !isError(name) && !isError(parent))
      .map(([, name]) => `${path}: ${name}`),
  )
  expect(classes).toEqual([])
})

test('a file reads in one sitting: 400 lines at most, and 600 for a list of tests', () => {
  const long = modules
    .map(({ path, source }) => ({ path, lines: source.split('\n').length }))
    .filter(({ path, lines }) => lines > (path.endsWith('.test.ts') ? 600 : 400))
  expect(long).toEqual([])
})

// Helpers

interface Edge extends Import {
  readonly from: string
}

function reachableFrom(entries: readonly string[]): Module[] {
  const byPath = new Map(modules.map((module) => [module.path, module]))
  const reached = new Set(entries)
  for (const path of reached) for (const { to } of byPath.get(path)?.imports ?? []) reached.add(to)
  return modules.filter(({ path }) => reached.has(path))
}

function isIn(folder: string, path: string): boolean {
  return path.startsWith(folder)
}

function isAdapter(path: string): boolean {
  return adapters.some((pattern) => pattern.test(path))
}

function folderOf(path: string): string {
  return path.split('/').slice(0, 3).join('/')
}

function describe({ from, to }: Edge): string {
  return `${from} → ${to}`
}

function edges(of: readonly Module[] = product): Edge[] {
  return of.flatMap(({ path, imports }) => imports.map((found) => ({ from: path, ...found })))
}

function violations(folder: string, allowed: (to: string) => boolean): string[] {
  return edges()
    .filter(({ from, to }) => isIn(folder, from) && !allowed(to))
    .map(describe)
}

function readModules(folder: string): Module[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => {
      const file = join(entry.parentPath, entry.name)
      const source = readFileSync(file, 'utf8')
      return { path: relative(root, file), source, imports: importsOf(file, source) }
    })
}

/** Static, dynamic and type imports alike: knowing a type is knowing the module. */
function importsOf(file: string, source: string): Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  const statements = /^(?:import|export)( type)? [^'"]*?from '(\.[^']+)'|\bimport\s*\(?\s*'(\.[^']+)'/gm
  return [...code.matchAll(statements)].map(([, type, named, bare]) => ({
    to: relative(root, resolve(dirname(file), (named ?? bare ?? '').replace(/\.js$/, '.ts'))),
    typeOnly: type !== undefined,
  }))
}

function findCycles(among: readonly Module[], counts: (found: Import) => boolean): string[][] {
  const imports = new Map(among.map(({ path, imports }) => [path, imports.filter(counts).map(({ to }) => to)]))
  const settled = new Set<string>()
  const cycles: string[][] = []

  function visit(path: string, way: readonly string[]): void {
    const seenAt = way.indexOf(path)
    if (seenAt >= 0) cycles.push([...way.slice(seenAt), path])
    if (seenAt >= 0 || settled.has(path)) return
    for (const next of imports.get(path) ?? []) visit(next, [...way, path])
    settled.add(path)
  }

  for (const path of imports.keys()) visit(path, [])
  return cycles
}
