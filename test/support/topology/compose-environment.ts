/**
 * The environment of each replica as compose.ha.yml gives it, with secrets as make-secrets.sh makes them; only the addresses
 * of the servers are those of this machine.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deployDirectory, readCompose } from '../deploy/artefacts.js'

export interface Places {
  /** What an operator writes into secrets/ for servers of his own, by name of the secret. */
  readonly secrets: Readonly<Record<string, string>>
  /** `host:port` of the file → of this machine. */
  readonly addresses: Readonly<Record<string, string>>
}

type Environment = Readonly<Record<string, string>>

/** By name of the replica, in the file's order. `directory` holds the secrets. */
export function composeEnvironments(directory: string, { secrets, addresses }: Places): Map<string, Environment> {
  const shared = join(directory, 'secrets')
  mkdirSync(shared)
  for (const [name, text] of Object.entries(secrets)) writeFileSync(join(shared, name), text)
  execFileSync(join(deployDirectory, 'make-secrets.sh'), [shared])
  const replicas = Object.entries(readCompose('compose.ha.yml').services).filter(([, { image }]) => image === 'mirante')
  return new Map(
    replicas.map(([name, { environment = {} }]) => {
      const own = join(directory, `secrets of ${name}`)
      cpSync(shared, own, { recursive: true })
      // The audit of the tests knows writers by the name of their connections.
      const databaseUrl = secrets.database_url ?? ''
      const as = `application_name=${encodeURIComponent(`mirante ${name}`)}`
      writeFileSync(join(own, 'database_url'), `${databaseUrl}${databaseUrl.includes('?') ? '&' : '?'}${as}`)
      return [name, Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, here(value, own)]))]
    }),
  )

  function here(value: string, own: string): string {
    const text = value.replace('/run/secrets', own)
    return Object.entries(addresses).reduce((changed, [from, to]) => changed.replaceAll(from, to), text)
  }
}
