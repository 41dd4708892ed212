/** This machine: Node, the data directory and the space on its disk, the way to WhatsApp. */
import { accessSync, constants, existsSync, type Stats, statfsSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { wantedNode } from '../../version.js'
import { type Finding, ok, problem, warning } from './finding.js'

const MIB = 1024 * 1024
const LITTLE_SPACE_MIB = 2_048
const TOO_LITTLE_SPACE_MIB = 512
const CONNECT_TIMEOUT_MS = 5_000
/** Node 20 is no longer maintained. */
const OLDEST_MAINTAINED_NODE = 22

export function checkMachine(dataDirectory: string | undefined): Finding[] {
  const node = judgeNode(process.versions.node, wantedNode)
  if (dataDirectory === undefined) return [node]
  return [node, ...checkDirectory(dataDirectory), checkDisk(dataDirectory)]
}

/** Pure. @param wanted such as `>=20.20.2` */
export function judgeNode(have: string, wanted: string): Finding {
  const least = wanted.replace(/^\D+/, '')
  const [major = 0] = numbersOf(have)
  if (compare(numbersOf(have), numbersOf(least)) < 0) {
    return problem('node', `Node ${have}`, `Install Node ${least} or newer.`)
  }
  if (major < OLDEST_MAINTAINED_NODE) {
    return warning('node', `Node ${have}, which is no longer maintained`, 'Run production on Node 24.')
  }
  return ok('node', `Node ${have}`)
}

const numbersOf = (version: string): number[] => version.split('.').map(Number)

function compare(left: readonly number[], right: readonly number[]): number {
  for (const [index, part] of right.entries()) {
    const difference = (left[index] ?? 0) - part
    if (difference !== 0) return difference
  }
  return 0
}

function checkDirectory(path: string): Finding[] {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats) return [checkNewDirectory(path)]
  if (!stats.isDirectory()) {
    return [problem('data-directory', `${path} is no directory`, 'Set SESSION_STORAGE_PATH to a directory.')]
  }
  if (!isWritable(path)) {
    return [problem('data-directory', `${path} cannot be written by this user`, `chown -R "$(id -u)" ${path}`)]
  }
  return [judgeDirectory(path, stats, process.getuid?.())]
}

/** Pure. */
export function judgeDirectory(
  path: string,
  { mode, uid }: Pick<Stats, 'mode' | 'uid'>,
  ownUid: number | undefined,
): Finding {
  const octal = (mode & 0o777).toString(8)
  if (ownUid !== undefined && ownUid !== 0 && uid !== ownUid) {
    return warning(
      'data-directory',
      `${path} belongs to uid ${uid}, and this is uid ${ownUid}`,
      `chown -R ${ownUid} ${path}`,
    )
  }
  if ((mode & 0o077) !== 0) {
    return warning('data-directory', `${path} is open to other accounts (mode ${octal})`, `chmod 700 ${path}`)
  }
  return ok('data-directory', `${path} (uid ${uid}, mode ${octal})`)
}

function checkNewDirectory(path: string): Finding {
  const parent = nearestExisting(path)
  return isWritable(parent)
    ? ok('data-directory', `${path} is not there yet; the first start makes it`)
    : problem(
        'data-directory',
        `${path} cannot be made in ${parent}`,
        'Set SESSION_STORAGE_PATH to a place that this user may write.',
      )
}

function checkDisk(path: string): Finding {
  const { bavail, bsize } = statfsSync(nearestExisting(path))
  return judgeDisk((bavail * bsize) / MIB)
}

/** Pure. */
export function judgeDisk(freeMib: number): Finding {
  const found = freeMib < 10_240 ? `${Math.round(freeMib)} MiB free` : `${Math.round(freeMib / 1_024)} GiB free`
  if (freeMib < TOO_LITTLE_SPACE_MIB) {
    return problem('disk', found, 'Make room at once: without space the database stops taking writes.')
  }
  if (freeMib < LITTLE_SPACE_MIB)
    return warning('disk', found, 'Make room, or move SESSION_STORAGE_PATH to a larger disk.')
  return ok('disk', found)
}

function nearestExisting(path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearestExisting(dirname(path))
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Whether numbers could be connected from here. */
export async function checkWhatsapp(webSocketUrl: string | undefined): Promise<Finding> {
  const { hostname, port, protocol } = new URL(webSocketUrl ?? 'wss://web.whatsapp.com')
  const host = hostname.replace(/^\[|\]$/g, '')
  const address = `${hostname}:${port || (protocol === 'ws:' ? 80 : 443)}`
  const error = await tryToConnect(host, Number(port || (protocol === 'ws:' ? 80 : 443)))
  if (error === undefined) return ok('whatsapp', `${address} can be reached`)
  const action = webSocketUrl
    ? 'Start the simulator (mirante simulator), or unset WHATSAPP_WEB_URL for the real WhatsApp.'
    : 'Let this machine open connections to web.whatsapp.com, port 443: firewall, DNS, proxy.'
  return problem('whatsapp', `${address} cannot be reached (${error})`, action)
}

/** Resolves to the code of what went wrong. */
function tryToConnect(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT_MS })
    const end = (error?: string): void => {
      socket.destroy()
      resolve(error)
    }
    socket.once('connect', () => end())
    socket.once('timeout', () => end('no answer in time'))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
  })
}
