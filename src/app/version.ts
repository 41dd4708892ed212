import { readFileSync } from 'node:fs'

interface Manifest {
  readonly name?: string
  readonly version?: string
  readonly engines?: { readonly node?: string }
}

const manifest = findManifest()

/** Of package.json. */
export const version: string = manifest?.version ?? 'unknown'

/** The range of Node versions that Mirante runs on, such as `>=20.20.2`. */
export const wantedNode: string = manifest?.engines?.node ?? '>=0'

/** The manifest lies at another distance from `src` than from `dist`. */
function findManifest(): Manifest | undefined {
  for (let folder = new URL('.', import.meta.url); folder.pathname !== '/'; folder = new URL('..', folder)) {
    const found = readManifest(new URL('package.json', folder))
    if (found?.name === 'mirante' && found.version) return found
  }
  return undefined
}

function readManifest(file: URL): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Manifest
  } catch {
    return undefined
  }
}
