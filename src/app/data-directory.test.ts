import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DirectoryInUseError, directoryKey, openDataDirectory } from './data-directory.js'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mirante-data-'))
})

afterEach(() => rmSync(directory, { recursive: true }))

test('the key is made once, and only its owner may read it', () => {
  const first = directoryKey(directory)
  expect(first).toMatchObject({ generated: true, file: join(directory, 'encryption-key') })
  expect(first.key).toHaveLength(32)
  expect(statSync(first.file).mode & 0o777).toBe(0o600)
  expect(directoryKey(directory)).toEqual({ ...first, generated: false })
  expect(readdirSync(directory)).toEqual(['encryption-key'])
})

test('a file that is no key is an error and stays as it is', () => {
  writeFileSync(join(directory, 'encryption-key'), 'something else\n')
  expect(() => directoryKey(directory)).toThrow('is not an encryption key')
})

test('a directory is held by one at a time, and free after release', async () => {
  const held = await openDataDirectory(directory)
  await expect(openDataDirectory(directory)).rejects.toThrow(DirectoryInUseError)
  await held.release()
  await (await openDataDirectory(directory)).release()
})

test('a directory that is missing is made, for its owner only', async () => {
  const missing = join(directory, 'a', 'b')
  const held = await openDataDirectory(missing)
  expect(statSync(missing).mode & 0o777).toBe(0o700)
  await held.release()
})
