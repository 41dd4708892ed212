/** The files of deploy/, read as what they are. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, parseAllDocuments } from 'yaml'
import { type ComposeFile, composeFile } from './compose-schema.js'
import { type Manifest, manifest } from './kubernetes-schema.js'

export const deployDirectory = fileURLToPath(new URL('../../../deploy/', import.meta.url))

/** Every file of deploy/, by its path in there. */
export const listArtefacts = (): string[] =>
  readdirSync(deployDirectory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('secrets'))
    .map((entry) => join(entry.parentPath, entry.name).slice(deployDirectory.length))

export const readArtefact = (file: string): string => readFileSync(join(deployDirectory, file), 'utf8')

export const readCompose = (file: string): ComposeFile => composeFile.parse(parse(readArtefact(file), { merge: true }))

export function readManifests(file: string): Manifest[] {
  return parseAllDocuments(readArtefact(file)).map((document) => {
    const [error] = document.errors
    if (error) throw new Error(`${file}: ${error.message}`)
    return manifest.parse(document.toJS())
  })
}
