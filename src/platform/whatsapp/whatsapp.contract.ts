/** What every provider must keep, as tests. A provider's own test file runs them against its world. */
import { describe, expect, it } from 'vitest'
import { eventually } from '../../../simulator/testing/eventually.js'
import type { TestJournal } from './testing/journal.js'
import type { Connection, ConnectionEvent, InboundMessage, Provider, Receipt, ServerAck } from './whatsapp.js'

export type EventOf<Type extends ConnectionEvent['type']> = Extract<ConnectionEvent, { type: Type }>

/** A number of ours on a connection, and what was told of it. */
export interface ContractNumber {
  readonly provider: Provider
  readonly connection: Connection
  readonly journal: TestJournal
  readonly events: readonly ConnectionEvent[]
  /** The next event of this kind from now on, or the first since `after`. */
  next<Type extends ConnectionEvent['type']>(type: Type, after?: number): Promise<EventOf<Type>>
  all<Type extends ConnectionEvent['type']>(type: Type): EventOf<Type>[]
  messages(): InboundMessage[]
  receipts(): Receipt[]
  send(to: string, text: string, options?: SendTextOptions): Promise<ServerAck>
}

export interface SendTextOptions {
  readonly id?: string
  readonly ackTimeoutMs?: number
  readonly signal?: AbortSignal
}

/** WhatsApp as the provider sees it, with one person in it to write to and be written to by. */
export interface ContractWorld {
  /** A number of ours, open. A new connection each time. */
  open(): Promise<ContractNumber>
  readonly contact: string
  readonly stranger: string
  /** Texts that the contact has read, each once. */
  inbox(): string[]
  /** The contact writes to our number. Resolves to the WhatsApp id. */
  write(text: string): Promise<string>
  /** Whether WhatsApp has our receipt for it. */
  isReceipted(whatsappId: string): boolean
  /** The contact plays what we sent under this id. */
  play(whatsappId: string): void
  /** Whether WhatsApp knows that we have heard of that. */
  isHeard(whatsappId: string): boolean
  /** What was on its way has arrived. */
  settle(): Promise<void>
}

export function describeProvider(name: string, world: () => ContractWorld): void {
  describe(`${name} keeps the contract of a provider`, () => {
    it('a message is sent under the id chosen for it, and acknowledged', async () => {
      const number = await world().open()
      const id = number.provider.newWhatsappId()
      const { at } = await number.send(world().contact, 'contract: sent', { id })
      expect(at).toBeInstanceOf(Date)
      await eventually(() => world().inbox().includes('contract: sent'))
      await eventually(() => number.receipts().some(({ whatsappIds }) => whatsappIds.includes(id)))
    })

    it('ids of messages are fresh and shaped like the ones of WhatsApp Web', async () => {
      const { provider } = await world().open()
      const ids = Array.from({ length: 1000 }, () => provider.newWhatsappId())
      expect(new Set(ids).size).toBe(1000)
      for (const id of ids) expect(id).toMatch(/^3EB0[0-9A-F]{18}$/)
    })

    it('the same id again reaches nobody twice', async () => {
      const number = await world().open()
      const id = number.provider.newWhatsappId()
      await number.send(world().contact, 'contract: repeated', { id })
      await number.send(world().contact, 'contract: repeated', { id })
      await world().settle()
      expect(
        world()
          .inbox()
          .filter((text) => text === 'contract: repeated'),
      ).toHaveLength(1)
    })

    it('a message does not leave before its keys are durable, and then it does', async () => {
      const number = await world().open()
      await number.send(world().contact, 'contract: acquainted')
      number.journal.hold()
      const sent = number.send(world().contact, 'contract: durable')
      await eventually(() => number.journal.tail > number.journal.durable)
      await world().settle()
      expect(world().inbox()).not.toContain('contract: durable')
      number.journal.release()
      await sent
      await eventually(() => world().inbox().includes('contract: durable'))
    })

    it('a receipt does not leave, and nobody hears of the message, before its row is durable', async () => {
      const number = await world().open()
      number.journal.hold()
      const id = await world().write('contract: received')
      await eventually(() => number.journal.tail > number.journal.durable)
      await world().settle()
      expect(world().isReceipted(id)).toBe(false)
      expect(number.messages()).toEqual([])
      number.journal.release()
      await eventually(() => world().isReceipted(id))
      expect(number.messages()).toMatchObject([
        { whatsappId: id, content: { type: 'text', text: { body: 'contract: received' } }, offline: false },
      ])
    })

    it("a contact's receipt is not acknowledged, and nobody hears of it, before it is durable", async () => {
      const number = await world().open()
      const id = number.provider.newWhatsappId()
      await number.send(world().contact, 'contract: played', { id })
      const wasPlayed = (): boolean =>
        number.receipts().some(({ whatsappIds, status }) => status === 'played' && whatsappIds.includes(id))
      await eventually(() => number.receipts().some(({ whatsappIds }) => whatsappIds.includes(id)))
      await eventually(() => world().isHeard(id))
      number.journal.hold()
      world().play(id)
      await eventually(() => number.journal.tail > number.journal.durable)
      await world().settle()
      expect({ heard: world().isHeard(id), told: wasPlayed() }).toEqual({ heard: false, told: false })
      number.journal.release()
      await eventually(() => world().isHeard(id) && wasPlayed())
      expect(number.journal.state.receipts).toContainEqual(
        expect.objectContaining({ whatsappIds: [id], status: 'played' }),
      )
    })

    it.each(['LEASE_LOST', 'NOT_DURABLE'] as const)(
      'a journal that gives up ends the connection: %s',
      async (reason) => {
        const number = await world().open()
        await number.send(world().contact, 'contract: acquainted')
        number.journal.hold()
        const sent = number.send(world().contact, `contract: ${reason}`)
        await eventually(() => number.journal.tail > number.journal.durable)
        number.journal.fail(reason)
        await expect(sent).rejects.toMatchObject({ sent: 'no', code: 'connection_closed' })
        await world().settle()
        expect(number.all('close')).toMatchObject([{ reason }])
        expect(world().inbox()).not.toContain(`contract: ${reason}`)
      },
    )

    it('what was stored of a message says the same as what was told', async () => {
      const number = await world().open()
      await world().write('contract: stored')
      const { message } = await number.next('message', 0)
      const { encHashes, ...told } = message
      const [payload] = await Promise.all(encHashes.map((hash) => number.journal.findRaw(hash)))
      expect(await number.provider.readRaw(payload ?? Buffer.alloc(0))).toEqual({ kind: 'message', message: told })
    })

    it('numbers that are not on WhatsApp are told apart, and not written to', async () => {
      const number = await world().open()
      expect(await number.connection.checkNumber(world().contact)).toMatchObject({
        exists: true,
        waId: world().contact,
      })
      expect(await number.connection.checkNumber(world().stranger)).toEqual({ exists: false })
      expect(await number.connection.checkNumbers([world().stranger, world().contact])).toMatchObject([
        { exists: false },
        { exists: true, waId: world().contact },
      ])
      await expect(number.send(world().stranger, 'contract: nobody')).rejects.toMatchObject({
        code: 'not_on_whatsapp',
        sent: 'no',
        final: true,
      })
    })

    it.each([
      ['close', (number: ContractNumber) => number.connection.close(), 'CLOSED'],
      ['terminate', async (number: ContractNumber) => number.connection.terminate('LEASE_LOST'), 'LEASE_LOST'],
    ])('%s is told once, after it there is nothing more', async (_name, end, reason) => {
      const number = await world().open()
      await end(number)
      await end(number)
      await world().write('contract: nobody is at home')
      await expect(number.send(world().contact, 'late')).rejects.toMatchObject({ code: 'not_connected', sent: 'no' })
      await expect(number.connection.checkNumber(world().contact)).rejects.toThrow()
      await world().settle()
      expect(number.all('close')).toMatchObject([{ reason }])
      expect(number.events.at(-1)).toMatchObject({ type: 'close' })
    })

    it('what was written while we were away arrives later, and says so', async () => {
      const away = await world().open()
      await away.connection.close()
      const id = await world().write('contract: while away')
      const back = await world().open()
      await eventually(() => back.messages().some(({ whatsappId, offline }) => whatsappId === id && offline))
    })
  })
}
