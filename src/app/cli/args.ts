/** Arguments that several commands take. */
import type { ArgsDef } from 'citty'
import type { Command } from './command.js'

/** Gives `run` the types of its own arguments. */
export const command = <const Args extends ArgsDef, Early>(definition: Command<Args, Early>): Command =>
  definition as unknown as Command

export const connection = {
  url: { type: 'string', valueHint: 'url', description: 'Where Mirante answers (MIRANTE_URL)' },
  key: { type: 'string', valueHint: 'key', description: 'API key (MIRANTE_API_KEY)' },
} as const satisfies ArgsDef

export const json = { type: 'boolean', description: 'Print data as JSON' } as const
export const yes = { type: 'boolean', description: 'Do not ask' } as const

export const instance = {
  type: 'positional',
  description: 'Id (ins_…) or name of the instance',
  required: true,
} as const
export const ofInstance = { type: 'string', valueHint: 'id-or-name', description: 'Only of this instance' } as const
export const ofEndpoint = {
  type: 'string',
  valueHint: 'whe_…',
  description: 'Needed where there is more than one',
} as const
export const ofTypes = { type: 'string', valueHint: 'type,…', description: 'Only events of these types' } as const

/** The flags of the configuration are made from its documentation. */
export const settings = async () => (await import('./config-flags.js')).configFlags()
