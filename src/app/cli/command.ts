/** What a command is. */
import type { ArgsDef, ParsedArgs } from 'citty'
import type { ExitCode } from '../exit-codes.js'

interface Meta {
  readonly name: string
  readonly description: string
  /** Neither in the help nor in completions. */
  readonly hidden?: boolean
}

export interface Command<Args extends ArgsDef = ArgsDef, Early = unknown> {
  readonly meta: Meta
  readonly args: () => Promise<Args>
  /** What should not wait until the arguments are read and checked. */
  readonly early?: (rawArgs: readonly string[]) => Promise<Early>
  readonly run: (args: ParsedArgs<Args>, rawArgs: readonly string[], early: Early | undefined) => Promise<ExitCode>
  /** Its arguments are another program's and go there as they are. */
  readonly passThrough?: true
  /** It looks after uncaught errors and its own output. */
  readonly guardsItself?: true
}

/** Commands under a common word: `mirante dlq list`. */
export interface CommandGroup {
  readonly meta: Meta
  readonly commands: readonly Command[]
}

export const isGroup = (entry: Command | CommandGroup): entry is CommandGroup => 'commands' in entry
