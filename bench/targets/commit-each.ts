/**
 * The control of P4: our whole product, but what the library writes is made durable entry by entry, one commit at a time,
 * awaited before the bytes of that entry and of everything after it may leave; as a key store that writes through does. It
 * must miss the gate when commits are slow.
 */
import type { JournalWriter, OpenJournal } from '../../src/features/instances/journal.js'
import { serveComposed } from '../../test/support/serve-composed.js'

await serveComposed({ journals: commitEach })

function commitEach(real: JournalWriter): JournalWriter {
  return { open: async (fence, owner) => oneByOne(await real.open(fence, owner)) }
}

/** Hands an entry to the real journal only when the one before it is durable, so that no two share a flush. */
function oneByOne(real: OpenJournal): OpenJournal {
  let tail = real.tail
  let durable = real.durable
  let last: Promise<void> = Promise.resolve()
  /** Ends of the entries that are not durable yet. */
  const ends = new Map<number, Promise<void>>()
  return {
    append(entry) {
      const position = ++tail
      last = last.then(async () => {
        await real.whenDurable(real.append(entry))
        durable = position
        ends.delete(position)
      })
      last.catch(() => undefined)
      ends.set(position, last)
      return position
    },
    get tail() {
      return tail
    },
    get durable() {
      return durable
    },
    whenDurable: async (position) => ends.get(position),
    failed: real.failed,
    async close() {
      await last
      await real.close()
    },
    abandon: () => real.abandon(),
  }
}
