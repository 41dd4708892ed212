import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createDirectoryStorage } from './fs.js'
import { mediaContract } from './media.contract.js'

let root = ''
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'mirante-media-'))
})
afterEach(() => rm(root, { recursive: true, force: true }))

async function files(): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

mediaContract({ create: async () => createDirectoryStorage(root), list: files })

it('nobody but the owner may read files and directories', async () => {
  await createDirectoryStorage(root).put('tenant/0190-media', Readable.from([Buffer.from('x')]))
  const [file = ''] = await files()
  expect(file).toBe(join(root, 'tenant', 'ia', '0190-media'))
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect((await stat(join(root, 'tenant'))).mode & 0o777).toBe(0o700)
  expect((await stat(join(root, 'tenant', 'ia'))).mode & 0o777).toBe(0o700)
})

it('drafts that a dead process left are removed, those of a living one are not', async () => {
  await createDirectoryStorage(root).put('a', Readable.from([Buffer.from('x')]))
  const [abandoned, fresh] = [join(root, '.drafts', 'abandoned'), join(root, '.drafts', 'fresh')]
  for (const draft of [abandoned, fresh]) await writeFile(draft, 'half')
  const yesterday = new Date(Date.now() - 25 * 3_600_000)
  await utimes(abandoned, yesterday, yesterday)
  await createDirectoryStorage(root).put('b', Readable.from([Buffer.from('x')]))
  expect((await readdir(join(root, '.drafts'))).sort()).toEqual(['fresh'])
})

it('a directory that cannot be written is told as such, and works when it can', async () => {
  await rm(root, { recursive: true })
  await writeFile(root, 'a file stands here')
  const storage = createDirectoryStorage(root)
  await expect(storage.put('a', Readable.from([Buffer.from('x')]))).rejects.toMatchObject({ code: 'failed' })
  await rm(root)
  await storage.put('a', Readable.from([Buffer.from('x')]))
  expect(await storage.exists('a')).toBe(true)
})
