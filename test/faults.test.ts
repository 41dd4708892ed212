/** `docs/faults.md` names a test for every fault: that they exist, and what no other test says. */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { expect, it } from 'vitest'

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const HERE = 'src/platform/whatsapp/baileys/'

/** `file.test.ts`: a name · another name → [file, name] */
function referencesOf(cell: string): [string, string][] {
  let file = ''
  return cell.split(' · ').map((part) => {
    const [, named, rest] = /^\s*`([^`]+\.ts)`: (.*)$/.exec(part) ?? []
    file = named ?? file
    return [file.includes('/') ? file : HERE + file, (rest ?? part).trim()]
  })
}

const rows = read('docs/faults.md')
  .split('\n')
  .filter((line) => line.startsWith('|') && line.includes('.ts`'))
  .map((line) => line.split('|').slice(1, -1))

it('every fault has its row', () => {
  const faults = rows.map(([fault = '']) => fault.trim())
  expect(faults.length).toBeGreaterThan(35)
  for (let n = 1; n <= 14; n++) expect(faults.some((fault) => fault.startsWith(`S${n} `))).toBe(true)
})

it.each(rows.map((cells) => [cells[0]?.trim() ?? '', cells[2] ?? '']))('%s: its tests are there', (_fault, cell) => {
  for (const [file, name] of referencesOf(cell)) {
    expect(existsSync(new URL(`../${file}`, import.meta.url)), file).toBe(true)
    expect(read(file), `${file} says`).toContain(name)
  }
})

it('the library is the very version that was made safe', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> }
  const installed = createRequire(import.meta.url)('baileys/package.json') as { version: string }
  expect(dependencies.baileys).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/)
  expect(installed.version).toBe(dependencies.baileys)
})

it('the licence of libsignal is spoken of', () => {
  expect(read('NOTICE')).toContain('libsignal (the npm package `libsignal`, GPL-3.0)')
})
