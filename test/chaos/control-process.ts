/**
 * Mirante with one promise broken on purpose, to prove that the storm notices. `control-process.ts NAME`:
 * - `random-id`: a plain retrying worker, with a new WhatsApp id at each try;
 * - `send-first`, `receipt-first`: bytes leave at once and the journal is written a moment later, as stock Baileys does.
 *   What came in is stored so soon after its receipt that a kill from outside seldom falls between: `receipt-first` also ends
 *   itself there, again and again.
 */
import type { Adapters } from '../../src/app/compose-options.js'
import { serveComposed } from '../support/serve-composed.js'
import { withRandomIds, writtenLater } from './broken-promises.js'

const MESSAGES_BEFORE_DEATH = 40
let ingests = 0

const controls: Readonly<Record<string, Partial<Adapters>>> = {
  'random-id': { provider: withRandomIds },
  'send-first': { journals: writtenLater },
  'receipt-first': {
    journals: writtenLater,
    crashPoint(name) {
      if (name !== 'before-ingest-commit' || ++ingests < MESSAGES_BEFORE_DEATH) return
      process.kill(process.pid, 'SIGKILL')
    },
  },
}

const overrides = controls[process.argv[2] ?? '']
if (!overrides) throw new Error(`name one of ${Object.keys(controls).join(', ')}`)
await serveComposed(overrides)
