/** Every variable of the configuration as a flag, and back: `PORT` is `--port`; a secret has only its `--…-file`. */
import type { StringArgDef } from 'citty'
import type { Flags } from '../config.js'
import { type Variable, variables } from '../config-variables.js'

const flagOf = (name: string): string => name.toLowerCase().replaceAll('_', '-')

/** A secret in the arguments would be on show in the process list. */
const textName = ({ name, secret }: Variable): string => (secret ? `${name}_FILE` : name)

export function configFlags(): Record<string, StringArgDef> {
  return Object.fromEntries(
    Object.values<Variable>(variables).map((variable) => {
      const name = textName(variable)
      const valueHint = variable.secret ? 'file' : variable.unit.split(',')[0]?.replaceAll(' ', '-')
      return [
        flagOf(name),
        { type: 'string', description: `${variable.about} (${name})`, valueHint: valueHint ?? 'value' },
      ]
    }),
  )
}

/** What was given of them, by variable. */
export function flagsFrom(args: Readonly<Record<string, unknown>>): Flags {
  const given = Object.values<Variable>(variables).map((variable) => {
    const name = textName(variable)
    const value = args[flagOf(name)]
    return [name, typeof value === 'string' ? value : undefined] as const
  })
  return Object.fromEntries(given)
}
