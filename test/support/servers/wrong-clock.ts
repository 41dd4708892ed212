/** A wall clock for one program that is wrong, and goes wrong while the program runs. Needs gcc. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface WrongClock {
  /** What the program has to be started with. */
  readonly env: Readonly<Record<string, string>>
  /** How far ahead of the machine's clock it is from now on, in seconds; negative: behind. */
  set(aheadSeconds: number): void
  remove(): void
}

export function createWrongClock(): WrongClock {
  const directory = mkdtempSync(join(tmpdir(), 'mirante-clock-'))
  const library = join(directory, 'wrong-clock.so')
  const source = fileURLToPath(new URL('./wrong-clock.c', import.meta.url))
  execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-o', library, source, '-ldl'])
  const file = join(directory, 'ahead')
  writeFileSync(file, Buffer.alloc(8))
  return {
    env: { LD_PRELOAD: library, CLOCK_FILE: file },
    set(aheadSeconds) {
      const bytes = Buffer.alloc(8)
      bytes.writeBigInt64LE(BigInt(aheadSeconds))
      // In place: the program has this very file in its memory.
      const handle = openSync(file, 'r+')
      writeSync(handle, bytes, 0, 8, 0)
      closeSync(handle)
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
