/** Writes docs/configuration.md from the variables; with --check it only says whether the file is stale. */
import { readFileSync, writeFileSync } from 'node:fs'
import { clientVariables, type Variable, variables } from '../src/app/config-variables.js'

const FILE = new URL('../docs/configuration.md', import.meta.url)

const text = `<!-- Made by \`npm run docs:config\` from src/app/config-variables.ts. Do not edit. -->
# Configuration

Mirante is configured by environment variables, which may also stand in a file \`.env\` where it is started (\`mirante init\` writes
one). \`mirante serve --help\` shows the same as flags. A flag wins over a variable, a variable over the file. An empty variable
counts as absent. Everything that is wrong is told at once, and nothing is started.

Each variable marked *secret* may instead come from a file: put its path into the variable's name with \`_FILE\` at the end
(\`DATABASE_URL_FILE=/run/secrets/database_url\`). A secret has no flag of its own, since arguments show in the process list;
its \`_FILE\` has one.

## The server

${Object.values(variables).map(section).join('\n\n')}

## The commands that talk to a running Mirante

${Object.values(clientVariables).map(section).join('\n\n')}
`

if (!process.argv.includes('--check')) writeFileSync(FILE, text)
else if (readFileSync(FILE, 'utf8') !== text) {
  console.error('docs/configuration.md is stale: npm run docs:config')
  process.exit(1)
}

function section({ name, about, unit, example, secret, ...absence }: Variable): string {
  return `### \`${name}\`

${about}

- Unit: ${unit}${secret ? `; secret, also as \`${name}_FILE\`` : ''}
- Default: ${absence.whenAbsent ?? `\`${absence.default?.() ?? ''}\``}
- Example: \`${name}=${example}\``
}
