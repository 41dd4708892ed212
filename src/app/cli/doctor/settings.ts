/** The settings: whether they can be used, and whether the key that guards the logins is there. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { InspectedConfig, OperatorConfig } from '../../config.js'
import { variables } from '../../config-variables.js'
import { type Finding, ok, problem, warning } from './finding.js'

export function checkSettings({ problems, config, settings }: InspectedConfig): Finding[] {
  return [...checkValues(problems, settings.length), ...checkSimulator(config.whatsappWebUrl)]
}

function checkValues(problems: InspectedConfig['problems'], count: number): Finding[] {
  if (problems.length === 0) return [ok('settings', `all ${count} can be used`)]
  return problems.map((wrong) =>
    problem('settings', `${wrong.variable} ${wrong.problem}`, `Set it, for example ${wrong.example}`),
  )
}

function checkSimulator(url: string | undefined): Finding[] {
  if (url === undefined) return [ok('simulator', 'not in use: numbers are connected to WhatsApp itself')]
  const found = `numbers are connected to a simulator (${url}) and not to WhatsApp`
  return [warning('simulator', found, 'For real use unset WHATSAPP_WEB_URL, WHATSAPP_ROOT_KEY and WHATSAPP_CA_FILE.')]
}

export interface KeyCheck {
  readonly finding: Finding
  /** Undefined where there is none yet, or none that can be used. */
  readonly key: Buffer | undefined
}

/** Looks where `serve` would, and makes none. */
export function checkEncryptionKey({
  encryptionKey,
  dataDirectory,
  databaseUrl,
}: Partial<OperatorConfig>): KeyCheck | undefined {
  if (encryptionKey) return { finding: ok('encryption-key', 'set by ENCRYPTION_KEY'), key: encryptionKey }
  return dataDirectory === undefined ? undefined : checkKeyFile(join(dataDirectory, 'encryption-key'), databaseUrl)
}

function checkKeyFile(file: string, databaseUrl: string | undefined): KeyCheck {
  const text = readKeyFile(file)
  if (text === undefined) return { finding: judgeMissingKey(file, databaseUrl), key: undefined }
  const parsed = variables.encryptionKey.schema.safeParse(text)
  if (!parsed.success) {
    const action = 'Put the right file back from your backup, or set ENCRYPTION_KEY.'
    return { finding: problem('encryption-key', `${file} is not a key`, action), key: undefined }
  }
  const mode = statSync(file).mode & 0o777
  if ((mode & 0o077) === 0) return { finding: ok('encryption-key', file), key: parsed.data }
  const found = `${file} is open to other accounts (mode ${mode.toString(8)})`
  return { finding: warning('encryption-key', found, `chmod 600 ${file}`), key: parsed.data }
}

/** Undefined when it is not there; not to be read is as bad as being no key. */
function readKeyFile(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : ''
  }
}

function judgeMissingKey(file: string, databaseUrl: string | undefined): Finding {
  if (databaseUrl === undefined) return ok('encryption-key', `${file} is not there yet; the first start makes it`)
  return warning(
    'encryption-key',
    `neither ENCRYPTION_KEY nor ${file} is there`,
    'Set ENCRYPTION_KEY, the same for all replicas; otherwise the first start makes a key that only this machine has.',
  )
}
