/**
 * Mirante that freezes itself with SIGSTOP at a crash point, to be thawed when another has taken over. `zombie-process.ts
 * [--seed-lock]`, configured like `serve`; with `--seed-lock` under the lock of seed 000 (SEED_LOCK_REDIS_URL), the control.
 * It is armed by the file `freeze.json` in its data directory, read at each SIGUSR2 and then removed; before it freezes it
 * leaves `frozen.json`.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readConfig } from '../../src/app/config.js'
import { serveComposed } from '../support/serve-composed.js'
import { createUnfencedLock } from './unfenced-lock.js'
import type { Freezing } from './zombie-round.js'

const { dataDirectory, databaseUrl = '', leaseTtlMs } = readConfig()
const armFile = join(dataDirectory, 'freeze.json')
let armed: Freezing = { point: 'never', hit: 0 }
let hits = 0

process.on('SIGUSR2', arm)
const redisUrl = process.env.SEED_LOCK_REDIS_URL ?? ''
const lock = process.argv.includes('--seed-lock')
  ? createUnfencedLock({ redisUrl, databaseUrl, ttlMs: leaseTtlMs, crashPoint })
  : {}
await serveComposed({ crashPoint, ...lock })

function arm(): void {
  try {
    armed = JSON.parse(readFileSync(armFile, 'utf8')) as Freezing
    hits = 0
    rmSync(armFile)
  } catch {
    // Nothing to do: it is only there when a test wants something.
  }
}

function crashPoint(point: string): void {
  if (point !== armed.point || ++hits < armed.hit) return
  armed = { point: 'never', hit: 0 }
  writeFileSync(join(dataDirectory, 'frozen.json'), point)
  process.kill(process.pid, 'SIGSTOP')
}
