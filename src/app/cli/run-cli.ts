/** Finds the command, checks its arguments strictly, runs it, and turns what it throws into a sentence and an exit code. */
import { parseArgs as parseStrictly } from 'node:util'
import { type ArgsDef, parseArgs } from 'citty'
import { EXIT, type ExitCode, exitCodeOf, UsageError } from '../exit-codes.js'
import { sentenceOf } from '../start-failure.js'
import { version } from '../version.js'
import { type Command, type CommandGroup, isGroup } from './command.js'
import { commands } from './commands.js'
import { didYouMean } from './suggest.js'
import { commandUsage, groupUsage, overview } from './usage.js'

/** Options of every command. */
const common = {
  debug: { type: 'boolean', description: 'On an error, show where it comes from' },
} as const satisfies ArgsDef

export async function runCli(rawArgs: readonly string[]): Promise<ExitCode> {
  try {
    return await run(rawArgs)
  } catch (error) {
    complain(error, beforeDashes(rawArgs).includes('--debug'))
    return exitCodeOf(error)
  }
}

async function run(rawArgs: readonly string[]): Promise<ExitCode> {
  const [first, ...rest] = rawArgs
  if (first === '--version' || first === '-v') return print(version)
  if (first === '--help' || first === '-h' || first === 'help') return print(overview(commands))
  if (first === undefined) throw new UsageError(overview(commands))
  const found = commands.find(({ meta }) => meta.name === first)
  if (!found) throw new UsageError(`There is no command ${first}.${suggestion(first, commands)} See: mirante --help`)
  if (isGroup(found)) return runInGroup(found, rest)
  return runCommand(found, found.meta.name, rest)
}

async function runInGroup(group: CommandGroup, rawArgs: readonly string[]): Promise<ExitCode> {
  const { name } = group.meta
  const [first, ...rest] = rawArgs
  const hint = `See: mirante ${name} --help`
  if (first === '--help' || first === '-h') {
    const alone = group.itself ? `\n\n${await usage(group.itself, name)}` : ''
    return print(`${groupUsage(group)}${alone}`)
  }
  if (first === undefined || first.startsWith('-')) {
    if (group.itself) return runCommand(group.itself, name, rawArgs)
    throw new UsageError(groupUsage(group))
  }
  const command = group.commands.find(({ meta }) => meta.name === first)
  if (!command) throw new UsageError(`There is no ${name} ${first}.${suggestion(first, group.commands)} ${hint}`)
  return runCommand(command, `${name} ${first}`, rest)
}

async function runCommand(command: Command, path: string, rest: readonly string[]): Promise<ExitCode> {
  if (command.passThrough) return command.run(parseArgs([], {}), rest, undefined)
  if (asksForHelp(rest)) return print(await usage(command, path))
  const early = await command.early?.(rest)
  const args = { ...(await command.args()), ...common }
  check(path, args, rest)
  if (!command.guardsItself) guard(rest)
  return command.run(parseArgs([...rest], args), rest, early)
}

function print(text: string): ExitCode {
  process.stdout.write(`${text.trimEnd()}\n`)
  return EXIT.done
}

const beforeDashes = (words: readonly string[]): readonly string[] => {
  const end = words.indexOf('--')
  return end < 0 ? words : words.slice(0, end)
}

const asksForHelp = (rest: readonly string[]): boolean =>
  beforeDashes(rest).some((word) => word === '--help' || word === '-h')

const suggestion = (word: string, among: readonly (Command | CommandGroup)[]): string =>
  didYouMean(
    word,
    among.filter(({ meta }) => !meta.hidden).map(({ meta }) => meta.name),
  )

/** Whoever reads our output may go (`mirante tail | head`), and nothing that goes wrong beside the command is a stack trace. */
function guard(rest: readonly string[]): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed),
  )
  process.on('uncaughtException', (error) => {
    complain(error, rest.includes('--debug'))
    process.exit(EXIT.broken)
  })
}

function complain(error: unknown, debug: boolean): void {
  process.stderr.write(`${sentenceOf(error)}\n`)
  if (!debug) return
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) process.stderr.write(`${cause.stack}\n`)
}

/** citty lets unknown options and missing words through; a typo in an option must not be taken for consent. */
function check(path: string, args: ArgsDef, rest: readonly string[]): void {
  const entries = Object.entries(args)
  const options = Object.fromEntries(
    entries
      .filter(([, { type }]) => type !== 'positional')
      .map(([name, { type }]) => [name, { type: type === 'boolean' ? 'boolean' : 'string' } as const]),
  )
  const places = entries.filter(([, { type }]) => type === 'positional')
  const wanted = places.filter(([, { required }]) => required).map(([name]) => name)
  const hint = `See: mirante ${path} --help`
  try {
    const { positionals } = parseStrictly({ args: [...rest], options, allowPositionals: true })
    const missing = wanted.slice(positionals.length)
    if (missing.length > 0) throw new Error(`Missing: <${missing.join('> <')}>.`)
    if (positionals.length > places.length) {
      throw new Error(`Too many words: ${positionals.slice(places.length).join(' ')} (quote a text that has spaces).`)
    }
  } catch (error) {
    // Node adds how to pass the word as a positional, which no command here means.
    const said = (error as Error).message.replace(/\. To specify .*/s, '.')
    const unknown = /^Unknown option '(--?[^']+)'/.exec(said)?.[1]
    const names = Object.keys(options).map((name) => `--${name}`)
    throw new UsageError(`${said}${unknown === undefined ? '' : didYouMean(unknown, names)} ${hint}`)
  }
}

/** The demo's own database and port are no settings: it has a Mirante apart. */
async function usage(command: Command, path: string): Promise<string> {
  const args = { ...(await command.args()), ...common }
  const settings = Object.keys((await import('./config-flags.js')).configFlags())
  return commandUsage(command, path, args, new Set(path === 'demo' || path === 'init' ? [] : settings))
}
