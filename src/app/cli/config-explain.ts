/** What every setting is, and why. */

import { inspectClientConfig, inspectConfig, type Setting } from '../config.js'
import type { Variable } from '../config-variables.js'
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js'
import { flagsFrom } from './config-flags.js'
import { didYouMean } from './suggest.js'
import { inColumns, note, painter, print, printJson } from './terminal.js'

/** A setting as it is shown: nothing secret is left in it. */
export interface ExplainedSetting {
  readonly name: string
  /** Null: there is none. */
  readonly value: string | null
  readonly source: Setting['source']
  readonly from: string | null
  readonly default: string
  readonly unit: string
  readonly about: string
  readonly example: string
  readonly secret: boolean
  readonly problem: string | null
}

export async function explainConfig(args: Readonly<Record<string, unknown>>): Promise<ExitCode> {
  const server = inspectConfig(flagsFrom(args))
  const client = inspectClientConfig({ MIRANTE_URL: typeof args.url === 'string' ? args.url : undefined })
  const all = [...server.settings, ...client].map((setting) => explain(setting, server.problems))
  const chosen = typeof args.name === 'string' ? [named(args.name, all)] : all
  if (args.json) printJson(typeof args.name === 'string' ? chosen[0] : chosen)
  else for (const line of typeof args.name === 'string' ? chosen.flatMap(inFull) : inShort(all)) print(line)
  if (chosen.every(({ problem }) => problem === null)) return EXIT.done
  const wrong = chosen.filter(({ problem }) => problem !== null)
  for (const { name, problem, example } of wrong) note(`${name} ${problem}; for example ${name}=${example}`)
  return EXIT.problems
}

/** Pure. */
export function explain(
  { definition, source, from, value, problem }: Setting,
  problems: readonly { readonly variable: string; readonly problem: string }[],
): ExplainedSetting {
  const { name, unit, about, example, secret } = definition
  const wrong = problem ?? problems.find(({ variable }) => variable === name)
  return {
    name,
    value: value === undefined ? null : textOf(definition, value),
    source,
    from: from ?? null,
    default: whenAbsent(definition),
    unit,
    about,
    example,
    secret: secret === true,
    problem: wrong ? wrong.problem : null,
  }
}

/** `PORT`, `port` and `--port` alike. */
function named(word: string, all: readonly ExplainedSetting[]): ExplainedSetting {
  const name = word.replace(/^--/, '').replaceAll('-', '_').toUpperCase()
  const found = all.find((setting) => setting.name === name || (setting.secret && `${setting.name}_FILE` === name))
  if (found) return found
  const names = all.map((setting) => setting.name)
  throw new UsageError(`There is no setting ${word}.${didYouMean(name, names)} All of them: mirante config explain`)
}

function textOf({ secret }: Variable, value: unknown): string {
  if (secret) return '(hidden)'
  return Array.isArray(value) ? value.join() : String(value)
}

const whenAbsent = ({ whenAbsent, default: fallback }: Variable): string => whenAbsent ?? fallback?.() ?? ''

function inShort(all: readonly ExplainedSetting[]): string[] {
  const rows = all.map((setting) => [setting.name, origin(setting), shown(setting)])
  return inColumns([['SETTING', 'FROM', 'VALUE'], ...rows])
}

function inFull(setting: ExplainedSetting): string[] {
  const { name, about, unit, secret, example, problem } = setting
  const rows = [
    ['value', shown(setting)],
    ['from', origin(setting)],
    ['default', setting.default],
    ['unit', unit],
    ['example', `${name}=${example}`],
    ...(secret ? [['file', `${name}_FILE may name a file that holds it`]] : []),
    ...(problem === null ? [] : [['problem', problem]]),
  ]
  return [painter()('bold', name), about, '', ...inColumns(rows.map(([label = '', text = '']) => [`  ${label}`, text]))]
}

const shown = ({ value, problem, ...setting }: ExplainedSetting): string => {
  if (problem !== null && value === null) return '(wrong)'
  return value ?? `(none: ${setting.default})`
}

const origin = ({ source, from }: ExplainedSetting): string => (from === null ? source : `${source} ${from}`)
