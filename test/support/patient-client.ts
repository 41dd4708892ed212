/** A client that does not give up: what customers are told to do, repeat the request under the same Idempotency-Key. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ApiAnswer, MiranteProcess } from './launch.js'

const PAUSE_MS = 100
/** Longer than any outage that a test makes: a Mirante that never comes back fails the test, and does not hang it. */
const GIVES_UP_AFTER_MS = 300_000

/** Resolves with the 202. Rejects when Mirante refuses the message for good, or is gone for good. */
export async function postUntilAccepted(
  mirante: Pick<MiranteProcess, 'api'>,
  key: string,
  body: object,
): Promise<ApiAnswer> {
  const givesUpAt = performance.now() + GIVES_UP_AFTER_MS
  for (;;) {
    let failure: unknown
    const answer = await mirante
      .api('POST', '/api/messages', { body, headers: { 'idempotency-key': key }, timeoutMs: 5_000 })
      .catch((error: unknown) => {
        failure = error
      })
    if (answer?.status === 202) return answer
    if (performance.now() > givesUpAt) {
      throw new Error(`not accepted in ${GIVES_UP_AFTER_MS} ms: ${failure ?? JSON.stringify(answer?.body)}`)
    }
    if (answer && answer.status < 500 && answer.status !== 409 && answer.status !== 429) {
      throw new Error(`refused with ${answer.status}: ${JSON.stringify(answer.body)}`)
    }
    await sleep(PAUSE_MS)
  }
}
