/**
 * Runs benchmarks: `npm run bench -- --suite p1,p4 --rounds 5 --fsync-us 0,2000 --mix text,mixed --out FILE --md`. Every gate
 * is judged inside one run on this machine, for each delay of fsync and each mix (bench/lib/mix.ts) by itself; what no gate
 * names is printed beside them. Exit 1: a gate failed. `--scale 0.2` shortens a run, for a look.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Mix, mixes } from './lib/mix.js'
import { judge, markdown, unjudged, type Verdict } from './lib/report.js'
import type { Figure, Suite } from './lib/suite.js'

const suites: Readonly<Record<string, () => Promise<{ readonly suite: Suite }>>> = {
  claim: () => import('./suites/claim.js'),
  p1: () => import('./suites/p01-accept.js'),
  p2: () => import('./suites/p02-accept-latency.js'),
  p3: () => import('./suites/p03-post-to-stanza.js'),
  p4: () => import('./suites/p04-saturated.js'),
  p6: () => import('./suites/p06-memory.js'),
  p7: () => import('./suites/p07-inbound.js'),
  p8: () => import('./suites/p08-kill.js'),
  p9: () => import('./suites/p09-failover.js'),
  p10: () => import('./suites/p10-cold-start.js'),
  p11: () => import('./suites/p11-growth.js'),
  p12: () => import('./suites/p12-footprint.js'),
  p14: () => import('./suites/p14-overload.js'),
  replicas: () => import('./suites/replicas.js'),
}

const { values } = parseArgs({
  options: {
    suite: { type: 'string', default: Object.keys(suites).join(',') },
    rounds: { type: 'string', default: '5' },
    'fsync-us': { type: 'string', default: '0,2000' },
    mix: { type: 'string', default: mixes.join(',') },
    scale: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    out: { type: 'string' },
    md: { type: 'boolean', default: false },
  },
})

const figures: Figure[] = []
const seed = Number(values.seed)
const startedAt = new Date()
console.error(`bench: seed ${seed}, load ${loadavg()[0]?.toFixed(2)}`)
for (const name of values.suite.split(',')) {
  const load = suites[name]
  if (!load) throw new Error(`no suite ${name}; there are ${Object.keys(suites).join(', ')}`)
  const { suite } = await load()
  for (const mix of suite.mixes ? values.mix.split(',').map(readMix) : [mixes[0]]) {
    for (const fsyncUs of suite.durable ? values['fsync-us'].split(',').map(Number) : [0]) {
      console.error(`bench: ${name}, ${mix}, fsync +${fsyncUs} µs, load ${loadavg()[0]?.toFixed(2)}`)
      await suite.run({
        rounds: Number(values.rounds),
        ...{ fsyncUs, mix, seed },
        scale: Number(values.scale),
        report: (figure) => figures.push({ ...figure, fsyncUs, mix }),
        log: (line) => console.error(`  ${line}`),
      })
    }
  }
}

const environment = {
  at: startedAt.toISOString(),
  sha: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
  node: process.version,
  cpu: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
  load1: loadavg()[0] ?? 0,
  rounds: Number(values.rounds),
  scale: Number(values.scale),
  seed,
}
const goals = JSON.parse(readFileSync(fileURLToPath(new URL('./goals.json', import.meta.url)), 'utf8'))
const verdicts: Verdict[] = judge(figures, goals)
if (values.out) {
  mkdirSync(dirname(values.out), { recursive: true })
  writeFileSync(values.out, `${JSON.stringify({ environment, verdicts, figures }, null, 1)}\n`)
}
const table = markdown(environment, figures, verdicts)
for (const gate of unjudged(verdicts, figures, goals)) console.error(`bench: not judged: ${gate}`)
console.log(table)
if (values.md) {
  const results = fileURLToPath(new URL('./results/', import.meta.url))
  mkdirSync(results, { recursive: true })
  writeFileSync(`${results}latest.md`, table)
}
process.exit(verdicts.every(({ passed }) => passed) ? 0 : 1)

function readMix(name: string): Mix {
  const mix = mixes.find((known) => known === name)
  if (!mix) throw new Error(`no mix ${name}; there are ${mixes.join(', ')}`)
  return mix
}
