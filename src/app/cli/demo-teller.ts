import { wantsColour } from '../config.js'

/** How the demo speaks. */
export interface Teller {
  step(text: string): void
  fact(text: string): void
  /** What happens beside the story, such as a webhook. */
  aside(text: string): void
  plain(text: string): void
}

/** @param out stdout, or stderr where stdout is for data */
export function createTeller(out: NodeJS.WriteStream): Teller {
  const colour = wantsColour(out.isTTY === true)
  const paint = (code: number, text: string) => (colour ? `\u001B[${code}m${text}\u001B[0m` : text)
  const line = (text: string) => void out.write(`${text}\n`)
  return {
    step: (text) => line(`\n${paint(1, text)}`),
    fact: (text) => line(`  ${text}`),
    aside: (text) => line(paint(2, `  ⇢ ${text}`)),
    plain: line,
  }
}
