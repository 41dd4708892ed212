/** What a command is. */
import type { ArgsDef, ParsedArgs } from 'citty'
import type { ExitCode } from '../exit-codes.js'

/** Under which heading the help shows a command. */
export const topics = {
  start: 'Start here',
  numbers: 'Numbers and messages',
  events: 'Events and webhooks',
  operation: 'Operation',
} as const
export type Topic = keyof typeof topics

interface Meta {
  readonly name: string
  readonly description: string
  /** Commands of a group have none of their own. */
  readonly topic?: Topic
  /** Whole lines, as one would type them. */
  readonly examples?: readonly string[]
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
  /** What the word does alone: `mirante cluster`. Default: it shows the help. */
  readonly itself?: Command
  readonly commands: readonly Command[]
}

export const isGroup = (entry: Command | CommandGroup): entry is CommandGroup => 'commands' in entry
