import type { SentCopy, SentMessage } from '../phone/handset.js'
import { createInbox } from '../phone/inbox.js'
import type { Person, World } from '../world/world.js'
import { inboxMessageView } from './message-view.js'

export function contactView({ phone, lid, name, habits }: Person) {
  return { phone, lid, name, ...habits }
}

type Page = { limit?: number | undefined; after?: number | undefined }

/** What a phone has read; `copies` are what its owner wrote on a companion. */
export function inboxView(world: World, person: Person, page: Page = {}, which: 'inbox' | 'copies' = 'inbox') {
  const inbox = person.handset?.[which] ?? createInbox()
  const from = page.after ?? 0
  const messages = inbox.messages.slice(from, page.limit === undefined ? undefined : from + page.limit)
  const typing = [...(person.handset?.typing ?? [])]
  return { messages: messages.map((message) => inboxMessageView(world, message)), counts: { ...inbox.counts }, typing }
}

export function sentView(person: Person) {
  return [...(person.handset?.sent.values() ?? [])].map(sentMessageView)
}

export type SentState = 'queued' | 'sent' | 'refused' | 'delivered' | 'read'

export function sentMessageView(message: SentMessage) {
  const { id, to, text, at } = message
  const copies = [...message.copies].map(([{ device, person }, copy]) => ({
    account: person.phone,
    device,
    ...copyView(copy),
  }))
  return { id, to, text, at, state: stateOf(message), copies }
}

/** The furthest any companion has come with it. */
export function stateOf({ copies }: SentMessage): SentState {
  const all = [...copies.values()]
  if (all.some(({ readAt }) => readAt !== null)) return 'read'
  if (all.some(({ deliveredAt }) => deliveredAt !== null)) return 'delivered'
  const deliveries = all.flatMap((copy) => copy.deliveries)
  if (deliveries.length > 0 && deliveries.every(({ nack }) => nack !== null)) return 'refused'
  return deliveries.some(({ attempts }) => attempts > 0) ? 'sent' : 'queued'
}

function copyView({ deliveredAt, readAt, retries, receipts, deliveries }: SentCopy) {
  const attempts = deliveries.reduce((sum, delivery) => sum + delivery.attempts, 0)
  return {
    deliveredAt,
    readAt,
    receipts,
    retries,
    stanzas: deliveries.length,
    attempts,
    redeliveries: attempts - deliveries.filter((delivery) => delivery.attempts > 0).length,
    nacks: deliveries.flatMap(({ nack }) => (nack === null ? [] : [nack])),
  }
}
