/**
 * Mirante that ends itself with SIGKILL at a crash point. `crash-process.ts [--written-later|--loses-pre-keys]`, configured like `serve`.
 * It is armed by the file `arm.json` in its data directory, read at the start and at each SIGUSR2, and then removed; what
 * it died of it leaves in `crashed.json`.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readConfig } from '../../src/app/config.js'
import { serveComposed } from '../support/serve-composed.js'
import { losesPreKeys, writtenLater } from './broken-promises.js'
import type { Arming } from './crash-world.js'

const directory = readConfig().dataDirectory
const armFile = join(directory, 'arm.json')
let armed: Arming = { point: null, hit: 0 }
let hits = 0

arm()
process.on('SIGUSR2', arm)
await serveComposed({
  crashPoint,
  ...(process.argv.includes('--written-later') ? { journals: writtenLater } : {}),
  ...(process.argv.includes('--loses-pre-keys') ? { journals: losesPreKeys } : {}),
})

function arm(): void {
  try {
    armed = JSON.parse(readFileSync(armFile, 'utf8')) as Arming
    hits = 0
    rmSync(armFile)
  } catch {
    // Nothing to do: it is only there when a test wants something.
  }
}

function crashPoint(point: string): void {
  if (point !== armed.point || ++hits < armed.hit) return
  writeFileSync(join(directory, 'crashed.json'), JSON.stringify(armed))
  process.kill(process.pid, 'SIGKILL')
}
