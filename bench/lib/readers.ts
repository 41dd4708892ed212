/** Whether every reader has every message, and in it the file that was sent. */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SimulatorProcess } from '../../test/support/launch.js'
import { createFiles, type Files } from './files.js'
import type { Item } from './mix.js'

export interface ReadVerdict {
  /** Messages that a reader has not got, over all readers. */
  readonly missing: number
  /** Files that a reader has not got as they were sent. */
  readonly wrongBytes: number
}

interface Inbox {
  readonly messages: readonly {
    readonly text: string
    readonly group: string | null
    readonly media: { readonly sha256?: string } | null
  }[]
}

/** What is still on its way from the server into the phones has so long. */
const READING_MS = 30_000
const LOOK_EVERY_MS = 200

/** Phones are the readers of what goes to them, and all of them of what goes to a group. Waits until nothing is missing. */
export async function readAll(
  simulator: SimulatorProcess,
  phones: readonly string[],
  items: readonly Item[],
): Promise<ReadVerdict> {
  const files = await createFiles()
  const deadline = performance.now() + READING_MS
  for (;;) {
    let verdict: ReadVerdict = { missing: 0, wrongBytes: 0 }
    for (const phone of phones) {
      const inbox = await simulator.admin<Inbox>('GET', `/admin/contacts/${phone}/inbox?limit=200000`)
      const ofReader = items.filter(({ to }) => to === phone || to.includes('@'))
      verdict = add(verdict, judgeReader(inbox, ofReader, files))
    }
    if (verdict.missing === 0 || performance.now() > deadline) return verdict
    await sleep(LOOK_EVERY_MS)
  }
}

function judgeReader({ messages }: Inbox, items: readonly Item[], files: Files): ReadVerdict {
  const found = new Map(messages.map((message) => [`${message.group} ${message.text}`, message]))
  let [missing, wrongBytes] = [0, 0]
  for (const { to, content, words, key } of items) {
    const message = found.get(`${to.includes('@') ? to : null} ${words}`)
    if (!message) missing++
    else if (content !== 'text' && message.media?.sha256 !== sha256(files(content, key).bytes)) wrongBytes++
  }
  return { missing, wrongBytes }
}

const add = (one: ReadVerdict, other: ReadVerdict): ReadVerdict => ({
  missing: one.missing + other.missing,
  wrongBytes: one.wrongBytes + other.wrongBytes,
})

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
