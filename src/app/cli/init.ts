/**
 * A first configuration: three questions, a `.env` that `serve` and the other commands read where they are started, and the
 * admin key, shown once. It never writes over a file.
 */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { z } from 'zod'
import { ENV_FILE } from '../config.js'
import { type Variable, variables } from '../config-variables.js'
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js'
import { ask, hasTerminal, note, print, printJson } from './terminal.js'

interface InitArgs {
  readonly host?: string | undefined
  readonly port?: string | undefined
  readonly 'database-url-file'?: string | undefined
  readonly yes?: boolean | undefined
  readonly json?: boolean | undefined
}

interface Answers {
  readonly host: string
  readonly port: string
  /** Lines for the file; empty for the embedded PostgreSQL. */
  readonly database: string
}

export async function init(args: InitArgs): Promise<ExitCode> {
  const file = resolve(ENV_FILE)
  const answers = args.yes ? given(args) : await asked(args)
  const apiKey = randomBytes(32).toString('base64url')
  const url = `http://127.0.0.1:${answers.port}`
  writeNew(file, contentOf(answers, url, apiKey))
  if (args.json) printJson({ file, url, apiKey })
  else print(apiKey)
  note(`
This is your admin key, shown once. ${file} holds it, so that commands started here find it: keep that file to yourself.

Go on (in a clone write npm start -- in place of mirante):
  mirante serve                        stays up
  mirante instances create support     in another terminal: a number of yours
  mirante qr support                   and its QR for the phone
The API and all its routes: ${url}/docs`)
  return EXIT.done
}

/** @throws UsageError where an option is no answer */
function given(args: InitArgs): Answers {
  return {
    host: checked(variables.host, '--host', args.host ?? '127.0.0.1'),
    port: checked(variables.port, '--port', args.port ?? variables.port.default()),
    database: fileLine(args['database-url-file']),
  }
}

async function asked(args: InitArgs): Promise<Answers> {
  if (!hasTerminal()) throw new UsageError('There is no terminal to ask on: add --yes to take the defaults.')
  const network = 'Who may reach the API: only this machine, or the whole network? 127.0.0.1 or 0.0.0.0'
  const own = 'URL of your PostgreSQL; empty: Mirante brings its own'
  const file = args['database-url-file']
  return {
    host: args.host ?? (await askFor(network, variables.host, '127.0.0.1')),
    port: args.port ?? (await askFor('Port of the API', variables.port, variables.port.default())),
    database: file === undefined ? urlLine(await askFor(own, variables.databaseUrl, '')) : fileLine(file),
  }
}

/** Until the answer can be used. */
async function askFor(question: string, { schema }: Pick<Variable, 'schema'>, fallback: string): Promise<string> {
  for (;;) {
    const answer = await ask(question, fallback)
    if (answer === undefined) throw new Error('Nothing was written.')
    const wrong = answer === fallback ? undefined : whatIsWrong(schema, answer)
    if (wrong === undefined) return answer
    note(`It ${wrong}.`)
  }
}

function checked({ schema }: Pick<Variable, 'schema'>, option: string, text: string): string {
  const wrong = whatIsWrong(schema, text)
  if (wrong === undefined) return text
  throw new UsageError(`${option} ${wrong} (is "${text}")`)
}

const whatIsWrong = (schema: z.ZodType<unknown, string>, text: string): string | undefined =>
  schema.safeParse(text).error?.issues[0]?.message

const urlLine = (url: string): string => (url === '' ? '' : `DATABASE_URL=${url}\n`)
const fileLine = (file: string | undefined): string =>
  file === undefined ? '' : `DATABASE_URL_FILE=${resolve(file)}\n`

const contentOf = ({ host, port, database }: Answers, url: string, apiKey: string): string => `\
# Made by mirante init. Everything that may stand here: docs/configuration.md, mirante config explain
HOST=${host}
PORT=${port}
${database}
# The first admin key. Another one here is the first admin key from the next start on.
BOOTSTRAP_API_KEY=${apiKey}

# For the commands that talk to the running Mirante.
MIRANTE_URL=${url}
MIRANTE_API_KEY=${apiKey}
`

function writeNew(file: string, content: string): void {
  try {
    writeFileSync(file, content, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST')
      throw new Error(`${file} is there already, and was left as it is. Move it away to begin anew.`)
    throw new Error(`${file} cannot be written (${code}).`, { cause: error })
  }
}
