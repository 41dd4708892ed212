import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createEmptyDatabase } from '../support/database.js'

const MAIN = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))

let database: Awaited<ReturnType<typeof createEmptyDatabase>>

beforeEach(async () => {
  database = await createEmptyDatabase()
})

afterEach(() => database.drop())

test('the demo connects a number, shows all ticks and verified webhooks, and ends', async () => {
  const { code, output } = await mirante(['demo', '--once', `--database-url=${database.url}`])
  expect(output).toContain('is connected as ins_')
  for (const tick of ['◷ queued', '✓ sent', '✓✓ delivered', '✓✓ read']) expect(output).toContain(tick)
  expect(output).toMatch(/webhook message\.received msg_\w+ “Tudo bem! Here I am\.” · signature valid/)
  expect(output).not.toContain('WRONG')
  expect(code).toBe(0)
})

test('with --json the story stays off stdout, which says where everything is', async () => {
  const { code, output } = await mirante(['demo', '--once', '--json', `--database-url=${database.url}`])
  expect(JSON.parse(output)).toEqual({
    url: expect.stringMatching(/^http:/),
    key: expect.stringMatching(/^mir_/),
    phone: expect.stringMatching(/^\d+$/),
    simulator: expect.stringMatching(/\/admin$/),
    contact: expect.stringMatching(/^\d+$/),
  })
  expect(code).toBe(0)
})

function mirante(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => {
    output += String(data)
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })))
}
