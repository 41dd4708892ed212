/** A client that never gives up: what customers are told to do, repeat the request under the same Idempotency-Key. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ApiAnswer, MiranteProcess } from './launch.js'

const PAUSE_MS = 100

/** Resolves with the 202. Rejects when Mirante refuses the message for good. */
export async function postUntilAccepted(
  mirante: Pick<MiranteProcess, 'api'>,
  key: string,
  body: object,
): Promise<ApiAnswer> {
  for (;;) {
    const answer = await mirante
      .api('POST', '/api/messages', { body, headers: { 'idempotency-key': key }, timeoutMs: 5_000 })
      .catch(() => undefined)
    if (answer?.status === 202) return answer
    if (answer && answer.status < 500 && answer.status !== 409 && answer.status !== 429) {
      throw new Error(`refused with ${answer.status}: ${JSON.stringify(answer.body)}`)
    }
    await sleep(PAUSE_MS)
  }
}
