import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createTestJournal } from '../testing/journal.js'
import { createGate } from './gate.js'

interface Rig {
  readonly journal: ReturnType<typeof createTestJournal>
  readonly gate: ReturnType<typeof createGate>
  /** What left, each with how far the journal was durable then. */
  readonly written: { readonly text: string; readonly durable: number }[]
  readonly failures: string[]
  readonly socket: { isOpen: boolean; bufferedBytes: number }
}

function rig(): Rig {
  const journal = createTestJournal()
  const written: Rig['written'] = []
  const failures: string[] = []
  const socket = { isOpen: true, bufferedBytes: 0 }
  const gate = createGate({
    journal,
    wire: {
      isOpen: () => socket.isOpen,
      bufferedBytes: () => socket.bufferedBytes,
      write(bytes, done) {
        written.push({ text: String(bytes), durable: journal.durable })
        done()
      },
    },
    onFailure: (reason) => failures.push(reason),
  })
  return { journal, gate, written, failures, socket }
}

const bytes = (text: string): Buffer => Buffer.from(text)
const texts = (written: Rig['written']): string[] => written.map(({ text }) => text)

describe('the gate', () => {
  it('lets bytes pass directly when nothing is journaled', () => {
    const { gate, written } = rig()
    gate.send(bytes('ping'))
    expect(texts(written)).toEqual(['ping'])
  })

  it('holds bytes until what was journaled before them is durable, and answers at once', async () => {
    const { gate, journal, written } = rig()
    journal.hold()
    const position = journal.append({})
    let isAnswered = false
    gate.send(bytes('message'), () => {
      isAnswered = true
    })
    expect({ isAnswered, written }).toEqual({ isAnswered: true, written: [] })
    journal.release()
    await gate.drained()
    expect(written).toEqual([{ text: 'message', durable: position }])
  })

  it('does not make bytes wait for what was journaled after them, and lets nothing overtake', async () => {
    const { gate, journal, written } = rig()
    const first = journal.append({})
    gate.send(bytes('one'))
    journal.append({})
    gate.send(bytes('two'))
    gate.send(bytes('three'))
    await journal.whenDurable(first)
    await gate.drained()
    expect(texts(written)).toEqual(['one', 'two', 'three'])
  })

  it('does other things in the same order as the bytes', async () => {
    const { gate, journal, written } = rig()
    journal.append({})
    gate.send(bytes('before'))
    gate.afterDurable(() => gate.send(bytes('from within')))
    gate.send(bytes('after'))
    await gate.drained()
    expect(texts(written)).toEqual(['before', 'after', 'from within'])
  })

  it.each(['LEASE_LOST', 'NOT_DURABLE'] as const)(
    'drops what it holds and says %s when the journal gives up',
    async (reason) => {
      const { gate, journal, written, failures } = rig()
      journal.hold()
      journal.append({})
      gate.send(bytes('held'))
      gate.afterDurable(() => written.push({ text: 'told', durable: 0 }))
      journal.fail(reason)
      await gate.drained()
      gate.send(bytes('later'))
      gate.afterDurable(() => written.push({ text: 'told later', durable: 0 }))
      await new Promise(setImmediate)
      expect({ written, failures }).toEqual({ written: [], failures: [reason] })
    },
  )

  it('says NOT_DURABLE for any other error', async () => {
    const { journal } = rig()
    const failures: string[] = []
    const broken = { ...journal, tail: 1, durable: 0, whenDurable: () => Promise.reject(new Error('disk')) }
    const wire = { isOpen: () => true, bufferedBytes: () => 0, write: () => {} }
    const gate = createGate({ journal: broken, wire, onFailure: (reason) => failures.push(reason) })
    gate.send(bytes('held'))
    await gate.drained()
    await new Promise(setImmediate)
    expect(failures).toEqual(['NOT_DURABLE'])
  })

  it('lets nothing out once it is shut', async () => {
    const { gate, journal, written, failures } = rig()
    journal.append({})
    gate.send(bytes('held'))
    gate.shut()
    let refusal: Error | undefined
    gate.send(bytes('later'), (error) => {
      refusal = error
    })
    await journal.whenDurable(journal.tail)
    await new Promise(setImmediate)
    expect({ written, failures, refused: refusal !== undefined }).toEqual({ written: [], failures: [], refused: true })
  })

  it('makes the library wait when too much is on its way', () => {
    const { gate, socket } = rig()
    socket.bufferedBytes = 64 * 1024 * 1024
    let answers = 0
    gate.send(bytes('one'), () => {
      answers += 1
    })
    // Written at once, so answered by the socket itself, once.
    expect(answers).toBe(1)
  })

  it('answers those it makes wait when it drops their bytes', () => {
    const { gate, journal, socket } = rig()
    socket.bufferedBytes = 64 * 1024 * 1024
    journal.append({})
    const answers: (Error | undefined)[] = []
    gate.send(bytes('one'), (error) => answers.push(error))
    expect(answers).toEqual([])
    gate.shut()
    expect(answers).toEqual([new Error('the gate is shut')])
  })

  it('knows which bytes surely have not left', async () => {
    const { gate, journal, socket } = rig()
    gate.send(bytes('one'))
    journal.append({})
    gate.send(bytes('two'))
    expect({ taken: gate.takenCount, written: gate.writtenCount }).toEqual({ taken: 2, written: 1 })
    socket.isOpen = false
    await gate.drained()
    expect(gate.writtenCount).toBe(1)
  })

  it('keeps order and never lets bytes out before their entry, whatever happens in which order', async () => {
    const step = fc.constantFrom('append', 'send', 'act', 'flush', 'hold', 'release', 'turn')
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const { gate, journal, written } = rig()
        const expected: { readonly text: string; readonly needs: number }[] = []
        const actions: Record<typeof step extends fc.Arbitrary<infer Name> ? Name & string : never, () => unknown> = {
          append: () => journal.append({}),
          send() {
            const text = `frame ${expected.length}`
            expected.push({ text, needs: journal.tail })
            gate.send(bytes(text))
          },
          act() {
            const text = `action ${expected.length}`
            expected.push({ text, needs: journal.tail })
            gate.afterDurable(() => written.push({ text, durable: journal.durable }))
          },
          flush: () => journal.flushNow(),
          hold: () => journal.hold(),
          release: () => journal.release(),
          turn: () => new Promise(setImmediate),
        }
        for (const name of steps) await actions[name]()
        journal.release()
        await gate.drained()
        expect(texts(written)).toEqual(expected.map(({ text }) => text))
        for (const [index, { durable }] of written.entries()) {
          expect(durable).toBeGreaterThanOrEqual(expected[index]?.needs ?? 0)
        }
      }),
    )
  })
})
