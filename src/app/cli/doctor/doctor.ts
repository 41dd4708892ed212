/** Looks at everything that Mirante stands on, with or without a running server, and says what to do. Changes nothing. */
import { inspectClientConfig, inspectConfig, type OperatorConfig } from '../../config.js'
import { EXIT, type ExitCode } from '../../exit-codes.js'
import { version } from '../../version.js'
import { type ConnectionArgs, createApiClient } from '../api-client.js'
import { flagsFrom } from '../config-flags.js'
import { inColumns, note, painter, print, printJson } from '../terminal.js'
import { checkDatabase } from './database.js'
import { type Finding, type Level, problem } from './finding.js'
import { checkMachine, checkWhatsapp } from './machine.js'
import { checkRunning, noKey } from './running.js'
import { checkServer, type ServerPlace } from './server.js'
import { checkEncryptionKey, checkSettings } from './settings.js'

type DoctorArgs = ConnectionArgs & { readonly json?: boolean | undefined } & Readonly<Record<string, unknown>>

/** Each answer of the API at most. */
const PATIENCE_MS = 10_000

export async function doctor(args: DoctorArgs): Promise<ExitCode> {
  const findings: Finding[] = []
  const began = performance.now()
  const tell = (heading: string, found: readonly Finding[]): void => {
    findings.push(...found)
    if (!args.json) for (const line of inLines(heading, found)) print(line)
  }
  const inspected = inspectConfig(flagsFrom(args))
  const { config } = inspected
  tell('Machine', checkMachine(config.dataDirectory))
  const key = checkEncryptionKey(config)
  tell('Settings', [...checkSettings(inspected), ...(key ? [key.finding] : [])])
  tell('Database', await checkDatabase(config, key?.key))
  tell('WhatsApp', [await checkWhatsapp(config.whatsappWebUrl)])
  tell('Server', await checkServerAndWhatItTells(args, config))

  const counts = countsOf(findings)
  if (args.json) printJson({ version, ok: counts.problem === 0, counts, checks: findings })
  else print(`\n${counts.ok} ok, ${inNumber(counts.warning, 'warning')}, ${inNumber(counts.problem, 'problem')}`)
  note(`looked for ${Math.round(performance.now() - began)} ms`)
  return counts.problem === 0 ? EXIT.done : EXIT.problems
}

async function checkServerAndWhatItTells(
  args: DoctorArgs,
  config: Partial<OperatorConfig>,
): Promise<readonly Finding[]> {
  const [urlSetting, keySetting] = inspectClientConfig({ MIRANTE_URL: args.url, MIRANTE_API_KEY: args.key })
  const wrong = [urlSetting, keySetting].flatMap((setting) => setting?.problem ?? [])
  if (wrong.length > 0) return wrong.map((one) => problem('settings', `${one.variable} ${one.problem}`, one.example))
  const named = urlSetting && urlSetting.source !== 'default' ? String(urlSetting.value) : undefined
  const place = named === undefined ? ownPlace(config) : { url: named }
  const { findings, isOurs } = await checkServer(place)
  if (!isOurs) return findings
  const apiKey = keySetting?.value
  if (typeof apiKey !== 'string') return [...findings, noKey()]
  return [...findings, ...(await checkRunning(createApiClient(place.url, apiKey, PATIENCE_MS)))]
}

/** Where `serve` listens with these settings. */
function ownPlace({ host = '0.0.0.0', port = 3000 }: Partial<OperatorConfig>): ServerPlace {
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return { url: `http://${reachable}:${port}`, listen: { host, port } }
}

function countsOf(findings: readonly Finding[]): Record<Level, number> {
  const count = (level: Level) => findings.filter((finding) => finding.level === level).length
  return { ok: count('ok'), warning: count('warning'), problem: count('problem') }
}

const inNumber = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

const signs = { ok: '✓', warning: '!', problem: '✗' } as const
const colours = { ok: 'green', warning: 'yellow', problem: 'red' } as const

function inLines(heading: string, findings: readonly Finding[]): string[] {
  const paint = painter()
  const rows = inColumns(findings.map(({ level, check, found }) => [level.padEnd('warning'.length), check, found]))
  const lines = findings.flatMap(({ level, action }, index) => [
    `  ${paint(colours[level], `${signs[level]} ${rows[index] ?? ''}`)}`,
    ...(action === null ? [] : [`      → ${action}`]),
  ])
  return [paint('bold', heading), ...lines]
}
