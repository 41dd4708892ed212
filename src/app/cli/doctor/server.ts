/** The server: whether ours answers where it should, or could be started there. */
import { createServer } from 'node:net'
import { version } from '../../version.js'
import { type Finding, ok, problem, warning } from './finding.js'

const PATIENCE_MS = 5_000

export interface ServerCheck {
  readonly findings: readonly Finding[]
  /** Mirante answers there. */
  readonly isOurs: boolean
}

export interface ServerPlace {
  readonly url: string
  /** Where `serve` would listen, when that is the place in question. */
  readonly listen?: { readonly host: string; readonly port: number } | undefined
}

export async function checkServer({ url, listen }: ServerPlace): Promise<ServerCheck> {
  const health = await ask(url, '/api/health')
  if (health === undefined) {
    const port = listen && listen.port > 0 ? [await checkPort(listen)] : []
    const isBusy = port.some(({ level }) => level !== 'ok')
    // A port that somebody else has is the whole story.
    return { findings: isBusy ? port : [...port, judgeSilence(url, listen !== undefined)], isOurs: false }
  }
  const body = health.body as { version?: unknown; checks?: unknown } | undefined
  if (typeof body?.version !== 'string' || body.checks === undefined) {
    const action = 'End that program, set PORT to a free port, or name another place with --url.'
    return { findings: [problem('server', `${url} answers, and is not Mirante`, action)], isOurs: false }
  }
  const ready = await ask(url, '/readyz')
  return { findings: [judgeServerVersion(url, body.version), judgeReadiness(ready)], isOurs: true }
}

function judgeSilence(url: string, isOwnPlace: boolean): Finding {
  return isOwnPlace
    ? warning('server', `nothing runs at ${url}`, 'Start it: mirante serve')
    : problem('server', `nothing answers at ${url}`, 'Start Mirante there, or correct MIRANTE_URL or --url.')
}

function judgeServerVersion(url: string, running: string): Finding {
  if (running === version) return ok('server', `Mirante ${running} answers at ${url}`)
  const found = `Mirante ${running} answers at ${url}, and this command is of ${version}`
  return warning('server', found, 'Use the command of the same version, or restart the server after an update.')
}

function judgeReadiness(ready: Answer | undefined): Finding {
  const { status } = (ready?.body ?? {}) as { status?: string }
  if (ready?.status === 200) return ok('readyz', 'it can work')
  if (status === 'draining') return warning('readyz', 'it is shutting down', 'Wait for its restart.')
  if (status === 'starting') return warning('readyz', 'it is starting', 'Look again in a few seconds.')
  const action = 'Look at the database above, and at the log of the server.'
  return problem('readyz', status ?? (ready ? `HTTP ${ready.status}` : 'no answer'), action)
}

interface Answer {
  readonly status: number
  /** Undefined where it is not JSON. */
  readonly body: unknown
}

/** Undefined when nobody answers. */
async function ask(url: string, path: string): Promise<Answer | undefined> {
  try {
    const answer = await fetch(new URL(path, url), { signal: AbortSignal.timeout(PATIENCE_MS), redirect: 'manual' })
    return { status: answer.status, body: await answer.json().catch(() => undefined) }
  } catch {
    return undefined
  }
}

/** Whether `serve` could listen there. */
async function checkPort({ host, port }: { readonly host: string; readonly port: number }): Promise<Finding> {
  const code = await tryToListen(host, port)
  const place = `port ${port} on ${host}`
  switch (code) {
    case undefined:
      return ok('port', `${place} is free`)
    case 'EADDRINUSE':
      return problem('port', `${place} is taken by another program`, 'End that program, or set PORT to a free port.')
    case 'EACCES':
      return problem('port', `this user may not listen on ${place}`, 'Set PORT to 1024 or more.')
    case 'EADDRNOTAVAIL':
      return problem('port', `this machine has no address ${host}`, 'Correct HOST.')
    default:
      return problem('port', `${place}: ${code}`, 'Correct HOST and PORT.')
  }
}

/** Resolves to the code of what went wrong. */
function tryToListen(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port }, () => server.close(() => resolve(undefined)))
  })
}
