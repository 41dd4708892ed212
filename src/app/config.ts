/**
 * The only reader of the environment. Everything else gets its options as arguments. A flag wins over a variable, a variable
 * over `.env` in the working directory, that over the default; all that is wrong is told at once.
 */
import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import type { z } from 'zod'
import { clientVariables, type Variable, variables } from './config-variables.js'
import { EXIT } from './exit-codes.js'

type Environment = Readonly<Record<string, string | undefined>>
type ValueOf<Definition> = Definition extends { readonly schema: z.ZodType<infer Value> } ? Value : never
type ReadOf<Definition> = Definition extends { readonly default: () => string }
  ? ValueOf<Definition>
  : ValueOf<Definition> | undefined
type Values<Definitions> = { readonly [Name in keyof Definitions]: ReadOf<Definitions[Name]> }

/** What the operator said. */
export type OperatorConfig = Values<typeof variables>

/** What a process of Mirante runs with: what the operator left open has been decided by the supervisor. */
export type Config = Omit<OperatorConfig, 'databaseUrl' | 'encryptionKey'> & {
  /** The operator's server, or the embedded one. */
  readonly databaseUrl: string
  readonly encryptionKey: Buffer
}

export type ClientConfig = Values<typeof clientVariables>

export interface ConfigProblem {
  readonly variable: string
  readonly problem: string
  readonly example: string
}

/** All that is wrong with the configuration. Its message is for a person and names no secret. */
export class ConfigError extends Error {
  readonly exitCode = EXIT.usage
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super(describe(problems))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

/** Variables that are not in the environment may stand in this file of the working directory. */
export const ENV_FILE = '.env'

/** Text by variable name, as flags gave it. */
export type Flags = Readonly<Record<string, string | undefined>>

/** Where the value of a setting comes from. `absent`: nobody gave one and it has no default; what happens then is documented. */
export type SettingSource = 'flag' | 'environment' | 'env-file' | 'file' | 'default' | 'absent'

/** One setting as it is in effect, or would be. */
export interface Setting {
  readonly definition: Variable
  readonly source: SettingSource
  /** How it was given: `PORT`, `--port`, `PORT in .env` or `DATABASE_URL_FILE=/run/secrets/url`. */
  readonly from: string | undefined
  /** Undefined where it is absent or wrong. */
  readonly value: unknown
  readonly problem: ConfigProblem | undefined
}

export interface InspectedConfig {
  readonly settings: readonly Setting[]
  /** Those of single settings, and of settings that do not go together. */
  readonly problems: readonly ConfigProblem[]
  /** What can be used of it. */
  readonly config: Partial<OperatorConfig>
}

/** Reads the configuration of `serve` and `migrate`. Throws ConfigError. */
export function readConfig(flags: Flags = {}, environment: Environment = process.env): OperatorConfig {
  const { config, problems } = inspectConfig(flags, environment)
  if (problems.length > 0) throw new ConfigError(problems)
  return Object.freeze(config as OperatorConfig)
}

/** The same for a look at it: what is wrong stands beside what is right. */
export function inspectConfig(flags: Flags = {}, environment: Environment = process.env): InspectedConfig {
  const { settings, problems, values } = readAll(variables, flags, environment)
  const config = values as Partial<OperatorConfig>
  return { settings, problems: [...problems, ...problemsBetween(config)], config }
}

/** The settings of the commands that talk to a running Mirante, for a look at them. */
export const inspectClientConfig = (flags: Flags = {}, environment: Environment = process.env): readonly Setting[] =>
  readAll(clientVariables, flags, environment).settings

function problemsBetween(config: Partial<OperatorConfig>): ConfigProblem[] {
  return [...simulatorProblems(config), ...storageProblems(config), ...replicaProblems(config)]
}

function replicaProblems({ databaseUrl, databaseReplicaUrl }: Partial<OperatorConfig>): ConfigProblem[] {
  if (!databaseReplicaUrl || databaseUrl) return []
  return [
    problemOf(variables.databaseUrl, 'must be set when DATABASE_REPLICA_URL is set: the embedded one has no standby'),
  ]
}

function simulatorProblems({
  whatsappWebUrl,
  whatsappRootKey,
  whatsappCaFile,
}: Partial<OperatorConfig>): ConfigProblem[] {
  if (whatsappWebUrl && !whatsappRootKey) {
    return [problemOf(variables.whatsappRootKey, 'must be set when WHATSAPP_WEB_URL is set')]
  }
  if (whatsappWebUrl || !(whatsappRootKey || whatsappCaFile)) return []
  return [problemOf(variables.whatsappWebUrl, 'must be set for WHATSAPP_ROOT_KEY or WHATSAPP_CA_FILE to mean anything')]
}

function storageProblems(config: Partial<OperatorConfig>): ConfigProblem[] {
  // It is wrong by itself, and says so.
  if (!config.storage) return []
  const keys = ['s3AccessKeyId', 's3SecretAccessKey'] as const
  if (config.storage.kind === 's3') {
    const missing = keys.filter((name) => !config[name])
    return missing.map((name) => problemOf(variables[name], 'must be set when STORAGE_URL is a bucket'))
  }
  const given = keys.filter((name) => config[name])
  return given.map((name) => problemOf(variables[name], 'means nothing as long as STORAGE_URL is no bucket (s3://…)'))
}

/** Reads what the commands that talk to a running Mirante need. Throws ConfigError. */
export function readClientConfig(flags: Flags = {}, environment: Environment = process.env): ClientConfig {
  const { values, problems } = readAll(clientVariables, flags, environment)
  if (problems.length > 0) throw new ConfigError(problems)
  return Object.freeze(values as ClientConfig)
}

/** Whether the person at the terminal wants colours, as https://no-color.org has it. */
export const wantsColour = (isTty: boolean, environment: Environment = process.env): boolean =>
  isTty && !environment.NO_COLOR && environment.TERM !== 'dumb'

/** The environment of this process with every variable of Mirante replaced by these: for a Mirante that stands apart. */
export function environmentWith(overrides: Environment, environment: Environment = process.env): NodeJS.ProcessEnv {
  const ours = [...Object.values(variables), ...Object.values(clientVariables)].flatMap(namesOf)
  const rest = Object.entries(environment).filter(([name]) => !ours.includes(name))
  return { ...Object.fromEntries(rest), ...overrides }
}

function readAll(definitions: Readonly<Record<string, Variable>>, flags: Flags, environment: Environment) {
  const envFile = readEnvFile(environment)
  const settings = Object.entries(definitions).map(([field, definition]) => {
    const setting = readSetting(definition, { flags, environment, envFile })
    return { field, setting }
  })
  const known = settings.filter(({ setting }) => setting.value !== undefined)
  return {
    settings: settings.map(({ setting }) => setting),
    problems: settings.flatMap(({ setting }) => setting.problem ?? []),
    values: Object.fromEntries(known.map(({ field, setting }) => [field, setting.value])) as Record<string, unknown>,
  }
}

/** None for an environment that was made up: it is all there is. */
function readEnvFile(environment: Environment): Environment {
  if (environment !== process.env) return {}
  try {
    return parseEnv(readFileSync(ENV_FILE, 'utf8'))
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return {}
    const problem = `is there and cannot be read (${code})`
    throw new ConfigError([{ variable: ENV_FILE, problem, example: `chmod 600 ${ENV_FILE}` }])
  }
}

interface Sources {
  readonly flags: Flags
  readonly environment: Environment
  readonly envFile: Environment
}

function readSetting(definition: Variable, sources: Sources): Setting {
  const { source, from, text, problem } = findText(definition, sources)
  const found = { definition, source, from, value: undefined, problem }
  if (problem || text === undefined) return found
  const parsed = definition.schema.safeParse(text)
  if (parsed.success) return { ...found, value: parsed.data }
  return { ...found, problem: problemOf(definition, wrongValue(definition, text, parsed.error)) }
}

interface FoundText extends Pick<Setting, 'source' | 'from'> {
  readonly text?: string | undefined
  readonly problem?: ConfigProblem | undefined
}

function findText(definition: Variable, { flags, environment, envFile }: Sources): FoundText {
  const { name } = definition
  const given = findGiven(definition, { ...environment, ...withoutEmpty(flags) })
  if (given) return flags[name] ? { ...given, source: 'flag', from: asFlag(name) } : given
  const inFile = findGiven(definition, envFile)
  if (inFile) return { ...inFile, source: 'env-file', from: `${inFile.from} in ${ENV_FILE}` }
  const text = definition.default?.()
  return { source: text === undefined ? 'absent' : 'default', from: undefined, text }
}

/** An empty variable counts as absent: that is how compose files and shells leave one out. */
function findGiven(definition: Variable, variables: Environment): FoundText | undefined {
  const { name } = definition
  const fileVariable = `${name}_FILE`
  const direct = variables[name]
  const file = definition.secret && variables[fileVariable]
  if (direct && file) {
    const problem = problemOf(definition, `is set, and so is ${fileVariable}: set one of them`)
    return { source: 'environment', from: name, problem }
  }
  if (direct) return { source: 'environment', from: name, text: direct }
  return file ? { source: 'file', from: `${fileVariable}=${file}`, ...readSecret(definition, file) } : undefined
}

const withoutEmpty = (flags: Flags): Flags => Object.fromEntries(Object.entries(flags).filter(([, value]) => value))

const asFlag = (name: string): string => `--${name.toLowerCase().replaceAll('_', '-')}`

function readSecret(definition: Variable, file: string): { text: string } | { problem: ConfigProblem } {
  const variable = `${definition.name}_FILE`
  const problem = (what: string) => ({
    problem: { variable, problem: what, example: `${variable}=/run/secrets/${definition.name.toLowerCase()}` },
  })
  try {
    const text = readFileSync(file, 'utf8').trim()
    return text ? { text } : problem(`names an empty file: ${file}`)
  } catch (error) {
    return problem(
      `names a file that cannot be read: ${file} (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`,
    )
  }
}

function wrongValue({ secret }: Variable, text: string, error: z.ZodError): string {
  const what = error.issues[0]?.message ?? 'is not usable'
  return secret ? what : `${what} (is ${JSON.stringify(text.slice(0, 60))})`
}

const problemOf = ({ name, example }: Variable, problem: string): ConfigProblem => ({
  variable: name,
  problem,
  example: `${name}=${example}`,
})

const namesOf = ({ name, secret }: Variable): string[] => (secret ? [name, `${name}_FILE`] : [name])

function describe(problems: readonly ConfigProblem[]): string {
  const count = problems.length === 1 ? '1 setting is wrong' : `${problems.length} settings are wrong`
  const lines = problems.map(({ variable, problem, example }) => `  ${variable} ${problem}\n    for example ${example}`)
  return `${count}:\n${lines.join('\n')}`
}
