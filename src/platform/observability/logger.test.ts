import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Logger } from '../../kernel/logger.js'
import { isAllowedField } from './log-fields.js'
import { createLogger, type LoggerOptions } from './logger.js'

const NOON = Date.UTC(2024, 0, 15, 10, 30, 45, 678)
const INSTANCE = '018f2c5e-7a3b-7c4d-8e5f-123456789012'

function capture(options: Partial<LoggerOptions> = {}): { logger: Logger; lines: string[] } {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  const logger = createLogger({ logLevel: 'debug', logFormat: 'line', destination, now: () => NOON, ...options })
  return { logger, lines }
}

describe('the line format', () => {
  it('is the one of seed 001, with the instance as the API names it', () => {
    const { logger, lines } = capture()
    logger.info('SESSION', 'connected', { instanceId: INSTANCE, attempt: 3 })
    expect(lines).toEqual([
      '[2024-01-15 10:30:45] [INFO] [SESSION] [ins_01HWP5WYHVFH6RWQRJ6HB7H40J] connected attempt=3\n',
    ])
  })

  it('marks a line without an instance and quotes texts', () => {
    const { logger, lines } = capture()
    logger.warn('LEASE', 'renewal failed', { error: 'timed out "soon"' })
    expect(lines[0]).toBe('[2024-01-15 10:30:45] [WARN] [LEASE] [-] renewal failed error="timed out \\"soon\\""\n')
  })

  it('cannot be made to write a second line', () => {
    const { logger, lines } = capture()
    logger.error('HTTP', 'bad\n[2024-01-15 10:30:45] [INFO] [INFO] [-] forged', { error: 'a\r\nb' })
    expect(lines[0]?.trimEnd()).not.toMatch(/[\r\n]/)
  })
})

describe('the json format', () => {
  it('is one object a line', () => {
    const { logger, lines } = capture({ logFormat: 'json' })
    logger.child({ process: 'web' }).info('HTTP', 'listening', { port: 3000 })
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      level: 'info',
      time: '2024-01-15T10:30:45.678Z',
      category: 'HTTP',
      process: 'web',
      port: 3000,
      message: 'listening',
    })
  })
})

describe.each(['line', 'json'] as const)('in the %s format', (logFormat) => {
  it('no phone number, key, secret or password is written', () => {
    const { logger, lines } = capture({ logFormat })
    const secret = `mir_0a1b2c_${'f'.repeat(64)}`
    logger.error('HTTP', 'refused +5511987654321 and 5511987654321@s.whatsapp.net', {
      error: `${secret} whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw postgres://u:hunter2@db/x`,
    })
    const line = lines.join()
    for (const canary of ['5511987654321', 'f'.repeat(64), 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'hunter2']) {
      expect(line).not.toContain(canary)
    }
    expect(line).toContain('+55…21')
  })

  it('a field that is not on the list is named and its value dropped', () => {
    const { logger, lines } = capture({ logFormat })
    logger.info('INFO', 'something', { body: 'the text of a message', status: 'sent' })
    expect(lines[0]).not.toContain('the text of a message')
    expect(lines[0]).toMatch(/dropped.*body/)
  })

  it('ids keep their digits and long texts are cut', () => {
    const { logger, lines } = capture({ logFormat })
    logger.info('INFO', 'x', { resource: `instance:${INSTANCE}`, detail: 'y'.repeat(5_000) })
    expect(lines[0]).toContain(INSTANCE)
    expect(lines[0]?.length).toBeLessThan(800)
  })

  it('only the wanted levels are written', () => {
    const { logger, lines } = capture({ logFormat, logLevel: 'warn' })
    logger.debug('INFO', 'a')
    logger.info('INFO', 'b')
    logger.warn('INFO', 'c')
    logger.error('INFO', 'd')
    expect(lines).toHaveLength(2)
  })
})

/** A name that is missing is added to log-fields.ts, once somebody has thought about what may stand in it. */
it('every field that Mirante logs is on the list', () => {
  const calls = sources(join(import.meta.dirname, '../..')).flatMap((file) => [
    ...readFileSync(file, 'utf8').matchAll(/logger\s*\.(?:debug|info|warn|error)\([^{}]*?\{([^{}]*)\}/g),
  ])
  const names = calls.flatMap((call) =>
    (call[1] ?? '').split(',').map((field) => field.trim().split(/[\s:(]/)[0] ?? ''),
  )
  const unknown = names.filter((name) => /^[a-zA-Z]+$/.test(name) && !isAllowedField(name))
  expect([...new Set(unknown)]).toEqual([])
})

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
}
