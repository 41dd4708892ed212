/**
 * Redis as Mirante uses it: for hints, limits, counts and caches. It is never needed and never the truth.
 *
 * Promises: a command is sent once, now, or not at all. While there is no connection it is refused at once; after 2 s without
 * an answer it has perhaps been run. Connections are made again for ever. Does not promise that anything is still there a
 * moment later: Redis may be restarted, wiped, or evict what it likes.
 */
import { createHash } from 'node:crypto'
import type { Service } from '../../kernel/service.js'

export type RedisArgument = string | number

/** A Lua script, which Redis runs as one step. */
export interface RedisScript {
  readonly lua: string
  readonly sha: string
}

/** One server, whichever it is: `run` of it is for questions about the server itself. */
export interface RedisNode {
  readonly name: string
  run(command: string, ...args: readonly RedisArgument[]): Promise<unknown>
}

export interface Redis extends Service {
  readonly kind: 'server' | 'sentinel' | 'cluster'
  /** Whether a command would be sent now; in a cluster, to whichever server. */
  readonly isReady: boolean
  /** Why it is not ready, as the last error said it; without secrets. */
  readonly trouble: string | undefined
  /** One command whose first argument is its key. */
  run(command: string, ...args: readonly RedisArgument[]): Promise<unknown>
  /** All keys must share a hash tag: in a cluster they have to lie on one server. */
  runScript(script: RedisScript, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown>
  /** The masters: one, but in a cluster. */
  nodes(): readonly RedisNode[]
}

export const redisScript = (lua: string): RedisScript => ({ lua, sha: createHash('sha1').update(lua).digest('hex') })
