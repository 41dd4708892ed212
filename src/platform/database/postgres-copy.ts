/**
 * One table from one server to another by COPY, as it flows: what the target has not taken yet is not read from the source.
 * `pg` has the messages of the protocol and no more, so both ends are queries of our own.
 */
import type { Socket } from 'node:net'
import type pg from 'pg'

/** The part of `pg`'s connection that COPY needs. */
interface Wire {
  readonly stream: Socket
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
  sendCopyFail(message: string): void
}

/** What `pg` calls on a query as answers arrive. */
interface CopyQuery {
  submit(wire: Wire): void
  handleCopyInResponse(wire: Wire): void
  handleCopyData(message: { readonly chunk: Buffer }): void
  handleCommandComplete(): void
  handleReadyForQuery(): void
  handleError(error: Error): void
}

/** Resolves when the target has all rows. `onBytes` hears of each piece. */
export async function copyTable(
  source: pg.ClientBase,
  target: pg.ClientBase,
  statements: { readonly out: string; readonly in: string },
  onBytes: (count: number) => void,
): Promise<void> {
  const into = copyIn(target, statements.in)
  const wire = await into.ready
  let paused = false
  const out = copyOut(source, statements.out, (chunk, from) => {
    wire.sendCopyFromChunk(chunk)
    onBytes(chunk.length)
    // What has been read already arrives all the same.
    if (paused || !wire.stream.writableNeedDrain) return
    paused = true
    from.stream.pause()
    wire.stream.once('drain', () => {
      paused = false
      from.stream.resume()
    })
  })
  // A target that fails meanwhile takes nothing more, and would be waited for.
  into.done.catch(() => wire.stream.emit('drain'))
  try {
    await out
    wire.endCopyFrom()
  } catch (error) {
    wire.sendCopyFail('the source has failed')
    await into.done.catch(() => {})
    throw error
  }
  await into.done
}

// Helpers

function copyOut(client: pg.ClientBase, text: string, onChunk: (chunk: Buffer, from: Wire) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let wire: Wire
    submit(client, {
      ...ending(resolve, reject),
      submit(given) {
        wire = given
        given.query(text)
      },
      handleCopyInResponse: (given) => given.sendCopyFail('nothing is sent this way'),
      handleCopyData: ({ chunk }) => onChunk(chunk, wire),
    })
  })
}

function copyIn(client: pg.ClientBase, text: string): { readonly ready: Promise<Wire>; readonly done: Promise<void> } {
  let isReady: (wire: Wire) => void = () => {}
  let isNotReady: (error: Error) => void = () => {}
  const ready = new Promise<Wire>((resolve, reject) => {
    isReady = resolve
    isNotReady = reject
  })
  const done = new Promise<void>((resolve, reject) => {
    submit(client, {
      ...ending(resolve, reject),
      submit: (wire) => wire.query(text),
      handleCopyInResponse: (wire) => isReady(wire),
      handleCopyData() {},
    })
  })
  done.catch(isNotReady)
  return { ready, done }
}

const ending = (resolve: () => void, reject: (error: Error) => void) => ({
  handleCommandComplete() {},
  handleReadyForQuery: resolve,
  handleError: reject,
})

const submit = (client: pg.ClientBase, query: CopyQuery): void => void client.query(query as unknown as pg.Submittable)
