/** Scripts that complete the commands in a shell. Commands and options are written into them; names of instances are asked for. */
import type { ArgsDef } from 'citty'
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js'
import { type Command, type CommandGroup, isGroup } from './command.js'
import { bashScript, type CompletedCommand, type CompletedFlag, fishScript, zshScript } from './completion-scripts.js'
import { didYouMean } from './suggest.js'
import { print } from './terminal.js'

const shells = { bash: bashScript, zsh: zshScript, fish: fishScript } as const
type Shell = keyof typeof shells

const isShell = (word: string): word is Shell => Object.hasOwn(shells, word)

export async function completion(
  { shell }: { readonly shell: string },
  commands: readonly (Command | CommandGroup)[],
): Promise<ExitCode> {
  const names = Object.keys(shells)
  if (!isShell(shell))
    throw new UsageError(`It is one of ${names.join(', ')}, and not ${shell}.${didYouMean(shell, names)}`)
  print(shells[shell](await completedCommands(commands)).trimEnd())
  return EXIT.done
}

/** All commands but the hidden ones. */
export async function completedCommands(commands: readonly (Command | CommandGroup)[]): Promise<CompletedCommand[]> {
  const shown = commands.filter(({ meta }) => !meta.hidden)
  return (await Promise.all(shown.map((entry) => (isGroup(entry) ? ofGroup(entry) : ofCommand(entry, []))))).flat()
}

async function ofGroup({ meta, commands, itself: alone }: CommandGroup): Promise<CompletedCommand[]> {
  const words = commands.map((command) => command.meta.name)
  const flags = alone ? flagsOf(await alone.args()) : []
  const itself = { path: meta.name, description: meta.description, flags, words, takesInstance: false }
  return [itself, ...(await Promise.all(commands.map((command) => ofCommand(command, [meta.name])))).flat()]
}

async function ofCommand(command: Command, above: readonly string[]): Promise<CompletedCommand[]> {
  const args = await command.args()
  const { name, description } = command.meta
  const first = Object.keys(args).find((key) => args[key]?.type === 'positional')
  const flags = [...flagsOf(args), { name: 'help', description: 'Show what it takes', takesValue: false }]
  return [
    {
      path: [...above, name].join(' '),
      description,
      flags,
      words: first === 'shell' ? Object.keys(shells) : [],
      takesInstance: first === 'instance',
    },
  ]
}

const flagsOf = (args: ArgsDef): CompletedFlag[] =>
  Object.entries(args)
    .filter(([, { type }]) => type !== 'positional')
    .map(([name, { type, description = '' }]) => ({ name, description, takesValue: type !== 'boolean' }))
