import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { ConfigError, environmentWith, inspectConfig, readClientConfig, readConfig, wantsColour } from './config.js'
import { clientVariables, variables } from './config-variables.js'

const directories: string[] = []

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
})

function fileWith(content: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'mirante-config-'))
  directories.push(directory)
  const file = join(directory, 'secret')
  writeFileSync(file, content)
  return file
}

function problemsOf(environment: Record<string, string>) {
  try {
    readConfig({}, environment)
  } catch (error) {
    if (error instanceof ConfigError) return error
  }
  throw new Error('no ConfigError was thrown')
}

test('an empty environment gives the documented defaults', () => {
  const config = readConfig({}, {})
  expect(config).toMatchObject({ host: '0.0.0.0', port: 3000, gateways: 1, leaseTtlMs: 45_000, logFormat: 'line' })
  expect(config.replicaName).toBe(hostname())
  expect(config.databaseUrl).toBeUndefined()
  expect(config.dataDirectory).toBe(join(process.cwd(), 'data'))
})

test('the configuration cannot be changed', () => {
  expect(Object.isFrozen(readConfig({}, {}))).toBe(true)
})

test('everything that is wrong is told at once, with an example that is right', () => {
  const { problems, message } = problemsOf({
    PORT: 'abc',
    GATEWAYS: '0',
    LOG_LEVEL: 'loud',
    EGRESS_ALLOW: '10.0.0.0/99',
  })
  expect(problems.map(({ variable }) => variable)).toEqual(['PORT', 'LOG_LEVEL', 'GATEWAYS', 'EGRESS_ALLOW'])
  expect(message).toContain('4 settings are wrong')
  expect(message).toContain('PORT must be a whole number from 0 to 65535 (is "abc")')
  expect(message).toContain('for example PORT=3000')
})

test('a wrong secret is named and never shown', () => {
  const { message } = problemsOf({
    BOOTSTRAP_API_KEY: 'hunter2',
    ENCRYPTION_KEY: 'hunter2',
    DATABASE_URL: 'mysql://u:hunter2@h/d',
  })
  expect(message).toContain('BOOTSTRAP_API_KEY must have 32 characters or more')
  expect(message).toContain('3 settings')
  expect(message).not.toContain('hunter2')
})

test('an empty variable counts as absent', () => {
  expect(readConfig({}, { PORT: '', DATABASE_URL: '' })).toMatchObject({ port: 3000 })
})

test('several hosts are one database, and a read replica is one host of an own server', () => {
  const hosts = 'postgres://a:5432,b:5432/d?target_session_attrs=read-write'
  expect(readConfig({}, { DATABASE_URL: hosts }).databaseUrl).toBe(hosts)
  const told = (environment: Record<string, string>) =>
    problemsOf(environment).problems.map(({ variable, problem }) => `${variable} ${problem}`)
  expect(told({ DATABASE_URL: 'postgres://a,a/d' })).toEqual(['DATABASE_URL names a:5432 twice'])
  expect(told({ DATABASE_REPLICA_URL: 'postgres://r/d' })).toEqual([
    expect.stringMatching(/^DATABASE_URL must be set when DATABASE_REPLICA_URL is set/),
  ])
  expect(told({ DATABASE_URL: hosts, DATABASE_REPLICA_URL: hosts })).toEqual([
    'DATABASE_REPLICA_URL must name one host',
  ])
})

test('a flag wins over the environment', () => {
  expect(readConfig({ PORT: '4000' }, { PORT: '5000' }).port).toBe(4000)
})

test.each(Object.values(variables).filter((variable) => 'secret' in variable))(
  '$name may come from a file',
  ({ name }) => {
    const databases = { DATABASE_URL: 'postgres://h/d', DATABASE_REPLICA_URL: 'postgres://r/d' }
    const values: Record<string, string> = {
      ...databases,
      REDIS_URL: 'redis://:secret@h/1',
      QUEUE_URL: 'amqp://user:secret@h/v',
      EVENTS_AMQP_URL: 'amqps://user:secret@h',
      ENCRYPTION_KEY: '00'.repeat(32),
      BOOTSTRAP_API_KEY: 'k'.repeat(32),
      S3_ACCESS_KEY_ID: 'id',
      S3_SECRET_ACCESS_KEY: 'secret',
    }
    const value = values[name] ?? ''
    const others = {
      ...(name.startsWith('S3_') && { ...values, STORAGE_URL: 's3://files', [name]: undefined }),
      ...(name === 'DATABASE_REPLICA_URL' && { DATABASE_URL: databases.DATABASE_URL }),
    }
    const inFile = { ...others, [`${name}_FILE`]: fileWith(`${value}\n`) }
    expect(readConfig({}, inFile)).toEqual(readConfig({}, { ...others, [name]: value }))
  },
)

test('a secret in a variable and in a file, an empty file and a missing one are refused', () => {
  const { problems } = problemsOf({
    DATABASE_URL: 'postgres://h/d',
    DATABASE_URL_FILE: fileWith('postgres://h/d'),
    ENCRYPTION_KEY_FILE: fileWith('\n'),
    BOOTSTRAP_API_KEY_FILE: '/nowhere/at/all',
  })
  expect(problems.map(({ variable, problem }) => `${variable} ${problem}`)).toEqual([
    expect.stringContaining('DATABASE_URL is set, and so is DATABASE_URL_FILE'),
    expect.stringContaining('ENCRYPTION_KEY_FILE names an empty file'),
    expect.stringContaining('BOOTSTRAP_API_KEY_FILE names a file that cannot be read: /nowhere/at/all (ENOENT)'),
  ])
})

test.each([
  ['hex', 'ab'.repeat(32)],
  ['base64', Buffer.alloc(32, 0xab).toString('base64')],
])('the encryption key is read as %s', (_encoding, text) => {
  expect(readConfig({}, { ENCRYPTION_KEY: text }).encryptionKey).toEqual(Buffer.alloc(32, 0xab))
})

test("a simulator's address needs its root key, and its root key an address", () => {
  expect(problemsOf({ WHATSAPP_WEB_URL: 'ws://127.0.0.1/ws/chat' }).problems[0]?.variable).toBe('WHATSAPP_ROOT_KEY')
  expect(problemsOf({ WHATSAPP_ROOT_KEY: '00'.repeat(32) }).problems[0]?.variable).toBe('WHATSAPP_WEB_URL')
})

test('a bucket needs who may use it, and who may use it needs a bucket', () => {
  const bucket = { STORAGE_URL: 's3://files?region=sa-east-1' }
  const keys = { S3_ACCESS_KEY_ID: 'id', S3_SECRET_ACCESS_KEY: 'secret' }
  expect(problemsOf(bucket).problems.map(({ variable }) => variable)).toEqual(Object.keys(keys))
  expect(problemsOf(keys).problems.map(({ variable }) => variable)).toEqual(Object.keys(keys))
  expect(readConfig({}, { ...bucket, ...keys }).storage).toMatchObject({ kind: 's3', bucket: 'files' })
  expect(problemsOf({ STORAGE_URL: 's3://id:secret@files', ...keys }).problems[0]?.problem).toContain('no secret')
})

test("a Mirante that stands apart inherits nothing of this one's configuration", () => {
  const environment = environmentWith({ PORT: '1' }, { PATH: '/bin', DATABASE_URL: 'x', ENCRYPTION_KEY_FILE: 'y' })
  expect(environment).toEqual({ PATH: '/bin', PORT: '1' })
})

test('the commands find their server and key', () => {
  expect(readClientConfig({}, {}).url).toBe('http://127.0.0.1:3000')
  expect(readClientConfig({ MIRANTE_URL: 'https://m.example' }, { MIRANTE_API_KEY: 'k' })).toEqual({
    url: 'https://m.example',
    apiKey: 'k',
  })
})

test('colours are for terminals that want them', () => {
  expect(wantsColour(true, {})).toBe(true)
  expect(wantsColour(false, {})).toBe(false)
  expect(wantsColour(true, { NO_COLOR: '1' })).toBe(false)
})

test('every variable is documented', () => {
  for (const { name, about, example, unit } of [...Object.values(variables), ...Object.values(clientVariables)]) {
    expect(about, name).toMatch(/^[A-Z].*\.$/)
    expect(example && unit, name).toBeTruthy()
  }
})

test.each([
  ['amqp://user:secret@h:5672/v', undefined],
  ['redis+sentinel://h1,h2/master', undefined],
  ['kafka://h', 'QUEUE_URL must begin with amqp:// or redis://'],
  ['redis+sentinel://h1,h2', 'QUEUE_URL must name the master after the sentinels: redis+sentinel://h1,h2,h3/<master>'],
])('QUEUE_URL=%s', (queueUrl, problem) => {
  const { problems } = inspectConfig({}, { QUEUE_URL: queueUrl })
  expect(problems.map(({ variable, problem: found }) => `${variable} ${found}`)).toEqual(problem ? [problem] : [])
})
