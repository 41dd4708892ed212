/** How a command of Mirante ends; documented in docs/cli.md and in `--help`. */
export const EXIT = {
  done: 0,
  /** It was tried and failed; the reason is on stderr. */
  failed: 1,
  /** Wrong arguments or configuration: nothing was tried. */
  usage: 2,
  /** The other side (Mirante's API, the database) does not answer. */
  unreachable: 3,
  /** A look at something found problems: `doctor`, `config explain`. */
  problems: 4,
  /** An error that nobody expected; no state was saved after it. */
  broken: 70,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** For `--help`. */
export const exitCodesInWords: Readonly<Record<ExitCode, string>> = {
  0: 'done',
  1: 'it was tried and failed',
  2: 'wrong arguments or configuration; nothing was tried',
  3: 'the other side does not answer: the API, or the database',
  4: 'doctor or config explain found problems',
  70: 'an error that nobody expected',
}

/** Nothing was tried: the arguments are wrong. The message is for a person. */
export class UsageError extends Error {
  readonly exitCode = EXIT.usage
}

/** The other side does not answer. The message says which, and what to do. */
export class UnreachableError extends Error {
  readonly exitCode = EXIT.unreachable
}

/** How a command ends that threw this. */
export function exitCodeOf(error: unknown): ExitCode {
  const code = (error as { exitCode?: unknown } | null)?.exitCode
  return Object.values<unknown>(EXIT).includes(code) ? (code as ExitCode) : EXIT.failed
}
