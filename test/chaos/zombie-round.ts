/** A round of G1: the holder of numbers under load is frozen until another has taken over all of them, and then thawed. */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../src/kernel/random.js'
import { eventually } from '../support/eventually.js'
import type { Replica, Replicas } from '../support/replicas/replicas.js'

export interface Freezing {
  readonly point: string
  /** Freezes when it comes to the point for this time; 1 is the next. */
  readonly hit: number
}

export interface ZombieRound {
  /** Of zombie-process.ts; undefined: frozen from outside, at a random moment. */
  readonly point: string | undefined
  readonly random: Random
  /** At least. */
  readonly frozenMs: number
}

const TAKEN_WITHIN_MS = 120_000
const FREEZES_WITHIN_MS = 8_000
const MAX_HIT = 8
const AFTERWARDS_MS = 1_000

/** Resolves to whether it froze where it was told to. */
export async function runZombieRound(replicas: Replicas, { point, random, frozenMs }: ZombieRound): Promise<boolean> {
  const victim = await replicas.busiest()
  await sleep(random() * 500)
  const froze = point !== undefined && (await freezesItself(victim, { point, hit: 1 + Math.floor(random() * MAX_HIT) }))
  const accounts = await heldBy(replicas, victim)
  replicas.freeze(victim)
  const frozenAt = performance.now()
  await eventually(
    async () => (await heldBy(replicas, victim)).length === 0,
    `${accounts.length} numbers of ${victim.name} are taken over`,
    TAKEN_WITHIN_MS,
  )
  await sleep(Math.max(random() * 800, frozenMs - (performance.now() - frozenAt)))
  replicas.thaw(victim)
  await sleep(AFTERWARDS_MS)
  return froze || point === undefined
}

async function freezesItself({ process: { directory, pid } }: Replica, freezing: Freezing): Promise<boolean> {
  const frozenFile = join(directory, 'frozen.json')
  writeFileSync(join(directory, 'freeze.json'), JSON.stringify(freezing))
  process.kill(pid, 'SIGUSR2')
  const froze = await eventually(() => existsSync(frozenFile), 'it freezes', FREEZES_WITHIN_MS).then(
    () => true,
    () => false,
  )
  rmSync(frozenFile, { force: true })
  return froze
}

async function heldBy(replicas: Replicas, { name }: Replica): Promise<string[]> {
  return [...(await replicas.holders())].filter(([, holder]) => holder === name).map(([account]) => account)
}
