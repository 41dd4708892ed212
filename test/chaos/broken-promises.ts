/** Adapters that break one promise each, for controls: a test of the promise that does not notice them proves nothing. */
import { randomBytes } from 'node:crypto'
import type { JournalWriter, OpenJournal } from '../../src/features/instances/journal.js'
import type { Provider } from '../../src/platform/whatsapp/whatsapp.js'

const LATER_MS = 300

/** A plain retrying worker: a new WhatsApp id at each try. */
export function withRandomIds(real: Provider): Provider {
  return {
    ...real,
    async connect(options) {
      const connection = await real.connect(options)
      return {
        ...connection,
        send: (message, sendOptions) =>
          connection.send(
            { ...message, whatsappId: `3EB0${randomBytes(9).toString('hex').toUpperCase()}` },
            sendOptions,
          ),
      }
    },
  }
}

/** Bytes leave at once and the journal is written a moment later, as stock Baileys does. */
export function writtenLater(real: JournalWriter): JournalWriter {
  return { open: async (fence, owner) => behind(await real.open(fence, owner)) }
}

/** Claims that everything is durable, and appends for real some time after, or when it is closed in peace. */
function behind(real: OpenJournal): OpenJournal {
  const late = new Set<() => void>()
  let tail = 0
  return {
    append(entry) {
      const write = (): void => {
        clearTimeout(timer)
        late.delete(write)
        real.append(entry)
      }
      const timer = setTimeout(write, LATER_MS)
      late.add(write)
      tail += 1
      return tail
    },
    get tail() {
      return tail
    },
    get durable() {
      return tail
    },
    whenDurable: async () => {},
    failed: real.failed,
    close() {
      for (const write of [...late]) write()
      return real.close()
    },
    abandon: () => real.abandon(),
  }
}

/** Keeps everything up to the first pre-keys, and then nothing: as if it always died between the wire and the write. */
export function losesPreKeys(real: JournalWriter): JournalWriter {
  return { open: async (fence, owner) => untilPreKeys(await real.open(fence, owner)) }
}

function untilPreKeys(real: OpenJournal): OpenJournal {
  let isOver = false
  return {
    append(entry) {
      isOver ||= entry.changes?.some(({ kind }) => kind === 'pre-key') ?? false
      return isOver ? real.tail : real.append(entry)
    },
    get tail() {
      return real.tail
    },
    get durable() {
      return real.durable
    },
    whenDurable: (position) => real.whenDurable(position),
    failed: real.failed,
    close: () => real.close(),
    abandon: () => real.abandon(),
  }
}
