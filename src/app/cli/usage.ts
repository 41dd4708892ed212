/** What `--help` says. Read in pagers and files as often as on a terminal: no colours, and no line wider than the reader's. */
import type { ArgDef, ArgsDef } from 'citty'
import { exitCodesInWords } from '../exit-codes.js'
import { version } from '../version.js'
import { type Command, type CommandGroup, type Topic, topics } from './command.js'

const ABOUT = `Mirante ${version}: a WhatsApp gateway that does not lose messages`
const WIDEST = 100
/** A longer name has its line to itself. */
const WIDEST_NAME = 28

type Row = readonly [name: string, text: string]

/** All commands, by topic. */
export function overview(commands: readonly (Command | CommandGroup)[]): string {
  const ofTopic = (topic: Topic): Row[] =>
    commands.filter(({ meta }) => meta.topic === topic).map(({ meta }) => [meta.name, meta.description])
  return paragraphs([
    [ABOUT],
    ['USAGE', '  mirante <command> [options]', '  npm start -- <command> [options]     (in a clone)'],
    ...(Object.keys(topics) as Topic[]).map((topic) => [topics[topic].toUpperCase(), ...inRows(ofTopic(topic))]),
    ['EXIT CODES', ...inRows(Object.entries(exitCodesInWords).map(([code, words]) => [code, words]))],
    ['What a command takes: mirante <command> --help. The manual: docs/cli.md'],
  ])
}

export function groupUsage({ meta, commands }: CommandGroup): string {
  return paragraphs([
    [meta.description],
    ['USAGE', `  mirante ${meta.name} <command> [options]`],
    ['COMMANDS', ...inRows(commands.map((command) => [command.meta.name, command.meta.description]))],
    [`What a command takes: mirante ${meta.name} <command> --help`],
  ])
}

/**
 * @param path the command as it is written, such as `dlq list`
 * @param settings names of those arguments that are settings of the server
 */
export function commandUsage({ meta }: Command, path: string, args: ArgsDef, settings: ReadonlySet<string>): string {
  const entries = Object.entries(args)
  const places = entries.filter(([, { type }]) => type === 'positional')
  const options = entries.filter(([, { type }]) => type !== 'positional')
  const own = options.filter(([name]) => !settings.has(name))
  const others = options.filter(([name]) => settings.has(name))
  const words = places.map(([name, { required }]) => (required === false ? `[${name}]` : `<${name}>`))
  return paragraphs([
    [meta.description],
    ['USAGE', `  ${['mirante', path, ...words, '[options]'].join(' ')}`],
    titled(
      'EXAMPLES',
      (meta.examples ?? []).map((example) => `  ${example}`),
    ),
    titled('ARGUMENTS', inRows(places.map(([name, { description = '' }]) => [`<${name}>`, description]))),
    titled('OPTIONS', inRows(own.map(asRow))),
    titled('SETTINGS (variables of the environment and of .env too: docs/configuration.md)', inRows(others.map(asRow))),
  ])
}

// Helpers

const paragraphs = (blocks: readonly (readonly string[])[]): string =>
  blocks
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')

const titled = (title: string, lines: readonly string[]): string[] => (lines.length === 0 ? [] : [title, ...lines])

function asRow([name, definition]: readonly [string, ArgDef]): Row {
  const { type, description = '' } = definition
  const hint = 'valueHint' in definition ? definition.valueHint : undefined
  return [type === 'boolean' ? `--${name}` : `--${name}=<${hint ?? 'value'}>`, description]
}

/** Names on the left, what they mean on the right, wrapped within its column. */
function inRows(rows: readonly Row[]): string[] {
  const column = 2 + Math.min(WIDEST_NAME, Math.max(0, ...rows.map(([name]) => name.length))) + 2
  const width = Math.min(WIDEST, process.stdout.columns || WIDEST)
  return rows.flatMap(([name, text]) => {
    const [first = '', ...rest] = wrapped(text, Math.max(20, width - column))
    const isLong = name.length > column - 4
    const lead = isLong ? [`  ${name}`, `${' '.repeat(column)}${first}`] : [`  ${name.padEnd(column - 2)}${first}`]
    return [...lead, ...rest.map((line) => `${' '.repeat(column)}${line}`)]
  })
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
