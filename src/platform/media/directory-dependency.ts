/** How the directory of the media is doing: whether it can be written, and the room that is left. */
import { randomUUID } from 'node:crypto'
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../kernel/clock.js'
import type { Dependency, DependencyProblem, DependencyReport } from '../../kernel/dependency.js'
import { WITHOUT_STORAGE } from './s3-dependency.js'

export interface DirectoryDependencyOptions {
  readonly root: string
  readonly clock: Pick<Clock, 'mono'>
  /** Less room than this is told. @default 1 GiB */
  readonly lowBytes?: number
}

const GIB = 1024 ** 3

export function createDirectoryDependency({ root, clock, lowBytes = GIB }: DirectoryDependencyOptions): Dependency {
  return {
    name: 'storage',
    async check() {
      const startedAt = clock.mono()
      const taken = (): number => Math.round(clock.mono() - startedAt)
      try {
        await write()
      } catch (error) {
        return report('down', null, cannotWrite(error))
      }
      const { bavail, bsize } = await statfs(root)
      const free = bavail * bsize
      if (free >= lowBytes) return report('up', taken())
      const found = `The file system of the media has ${(free / GIB).toFixed(2)} GiB left.`
      return report('degraded', taken(), { code: 'low_space', found, action: 'Make room before it is full.' })
    },
  }

  async function write(): Promise<void> {
    await mkdir(root, { recursive: true, mode: 0o700 })
    const path = join(root, `.check-${randomUUID()}`)
    try {
      await writeFile(path, '.', { mode: 0o600 })
    } finally {
      await rm(path, { force: true })
    }
  }
}

function report(status: DependencyReport['status'], latencyMs: number | null, problem?: DependencyProblem) {
  // Little room keeps nothing from being stored yet.
  const meanwhile = status === 'down' ? WITHOUT_STORAGE : problem ? 'Files are stored as usual.' : null
  return { name: 'storage' as const, status, latencyMs, version: null, meanwhile, problems: problem ? [problem] : [] }
}

function cannotWrite(error: unknown): DependencyProblem {
  const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return { code: 'full', found: 'The file system of the media is full.', action: 'Make room.' }
  }
  const found = `The directory of the media cannot be written (${code}).`
  return { code: 'unwritable', found, action: 'Let the user of this process write it, or correct STORAGE_URL.' }
}
