import { describe, expect, it } from 'vitest'
import { el } from '../wire/node-codec.js'
import { asOffline, createOfflineQueue } from './offline-queue.js'

const message = (id: string) => el('message', { id }, [el('enc', {}, Buffer.from(id))])

describe('the offline queue', () => {
  it('keeps what is not confirmed, in order', () => {
    const queue = createOfflineQueue()
    for (const id of ['a', 'b', 'c']) queue.add(message(id), 1)
    queue.confirmMessage('b', 2)
    expect(queue.pending().map(({ node }) => node.attrs.id)).toEqual(['a', 'c'])
  })

  it('takes a refusal for the oldest stanza only: the re-sent one waits for its own answer', () => {
    const queue = createOfflineQueue()
    const first = queue.add(message('a'), 1)
    const again = queue.add(message('a'), 2)
    expect(queue.confirmOldest('message', 'a', 3, '500')).toBe(first)
    expect(first.nack).toBe('500')
    expect(queue.pending()).toEqual([again])
  })

  it('confirms all copies of a message with one receipt, and no receipt stanza of the same id', () => {
    const queue = createOfflineQueue()
    queue.add(message('a'), 1)
    queue.add(message('a'), 1)
    queue.add(el('receipt', { id: 'a' }), 1)
    expect(queue.confirmMessage('a', 2)).toHaveLength(2)
    expect(queue.size).toBe(1)
    queue.confirmOldest('receipt', 'a', 3, null)
    expect(queue.size).toBe(0)
  })

  it('redelivers the same bytes under an offline mark', () => {
    const node = message('a')
    expect(asOffline(node).content).toBe(node.content)
    expect(asOffline(node).attrs.offline).toBeDefined()
    expect(node.attrs.offline).toBeUndefined()
  })
})
