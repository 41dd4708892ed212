import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { inspectConfig } from '../config.js'
import { variables } from '../config-variables.js'
import { explain } from './config-explain.js'

function explained(flags: Record<string, string>, environment: Record<string, string>) {
  const { settings, problems } = inspectConfig(flags, environment)
  const all = settings.map((setting) => explain(setting, problems))
  return (name: string) => all.find((setting) => setting.name === name)
}

it('names for every setting its value and where it comes from', () => {
  const directory = mkdtempSync(join(tmpdir(), 'mirante-explain-'))
  const file = join(directory, 'url')
  writeFileSync(file, 'postgres://mirante:hush@db/mirante\n')
  const of = explained(
    { PORT: '4001' },
    { PORT: '4002', HOST: '127.0.0.1', DATABASE_URL_FILE: file, EGRESS_ALLOW: '10.0.0.0/8, 127.0.0.1/32' },
  )
  expect(of('PORT')).toMatchObject({ value: '4001', source: 'flag', from: '--port', default: '3000' })
  expect(of('HOST')).toMatchObject({ value: '127.0.0.1', source: 'environment', from: 'HOST' })
  expect(of('DATABASE_URL')).toMatchObject({ value: '(hidden)', source: 'file', from: `DATABASE_URL_FILE=${file}` })
  expect(of('EGRESS_ALLOW')).toMatchObject({ value: '10.0.0.0/8,127.0.0.1/32' })
  expect(of('LOG_LEVEL')).toMatchObject({ value: 'info', source: 'default', from: null })
  expect(of('WHATSAPP_WEB_URL')).toMatchObject({ value: null, source: 'absent', default: 'WhatsApp itself' })
  rmSync(directory, { recursive: true })
})

it('shows no secret, whatever is wrong with it', () => {
  const secrets = Object.values(variables).filter((variable) => 'secret' in variable)
  expect(secrets.length).toBeGreaterThan(2)
  for (const value of ['hush', 'postgres://u:hush@db/x', 'hush'.repeat(10)]) {
    const of = explained({}, Object.fromEntries(secrets.map(({ name }) => [name, value])))
    for (const { name } of secrets) expect(JSON.stringify(of(name))).not.toContain('hush')
  }
})

it('shows what is wrong beside what is right, and what does not go together', () => {
  const of = explained({}, { PORT: 'x', GATEWAYS: '2', WHATSAPP_WEB_URL: 'ws://127.0.0.1:1/' })
  expect(of('PORT')).toMatchObject({ value: null, problem: expect.stringContaining('must be a whole number') })
  expect(of('GATEWAYS')).toMatchObject({ value: '2', problem: null })
  expect(of('WHATSAPP_ROOT_KEY')).toMatchObject({ problem: 'must be set when WHATSAPP_WEB_URL is set' })
})
