/** How the commands speak: data on stdout, everything else on stderr, colours only where a person looks at them. */
import { createInterface, type Interface } from 'node:readline/promises'
import { wantsColour } from '../config.js'
import { UsageError } from '../exit-codes.js'

/** One line of data. */
export const print = (line: string): void => void process.stdout.write(`${line}\n`)

export const printJson = (value: unknown): void => print(JSON.stringify(value))

/** Progress, notices and complaints. */
export const note = (line: string): void => void process.stderr.write(`${line}\n`)

const colours = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const
export type Colour = keyof typeof colours

/** Paints what goes to stdout. */
export function painter(): (colour: Colour, text: string) => string {
  const wanted = wantsColour(process.stdout.isTTY === true)
  return (colour, text) => (wanted ? `\u001B[${colours[colour]}m${text}\u001B[0m` : text)
}

/** Rows in columns, two spaces apart; the last column is as long as it is. Pure. */
export function inColumns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  }
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** Asks before something that cannot be taken back. Where nobody can answer, it is a mistake in the arguments. */
export async function confirm(question: string, yes: boolean | undefined): Promise<boolean> {
  if (yes) return true
  if (!hasTerminal()) throw new UsageError(`${question} There is no terminal to ask on: add --yes to go ahead.`)
  return /^y(es)?$/i.test((await answerTo(`${question} [y/N] `)) ?? '')
}

/** Asks for a line; an empty one is the fallback. Undefined when it was refused by Ctrl-C or Ctrl-D. */
export async function ask(question: string, fallback: string): Promise<string | undefined> {
  const answer = await answerTo(`${question}${fallback && ` [${fallback}]`}: `)
  return answer === '' ? fallback : answer
}

/** Whether a person can be asked. */
export const hasTerminal = (): boolean => process.stdin.isTTY && process.stderr.isTTY

async function answerTo(question: string): Promise<string | undefined> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await answerOf(terminal, question))?.trim()
  } finally {
    terminal.close()
  }
}

/** Ctrl-C and Ctrl-D are answers too; readline itself would never come back from them. */
function answerOf(terminal: Interface, question: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const refuse = (): void => {
      note('')
      resolve(undefined)
    }
    terminal.once('SIGINT', refuse)
    terminal.once('close', () => resolve(undefined))
    terminal.question(question).then(resolve, refuse)
  })
}

/** `3 s`, `4 min`, `5 h`, `6 d`: as much as a person wants to know. Pure. */
export function inWords(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`
  return `${Math.round(seconds / 86_400)} d`
}
