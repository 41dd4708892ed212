import { expect, it } from 'vitest'
import type { ConnectionEvent } from '../whatsapp.js'
import { createTeller } from './teller.js'

const close: ConnectionEvent = { type: 'close', reason: 'CLOSED', detail: '' }

it('tells what happens while it tells afterwards, not in the middle', () => {
  const order: string[] = []
  const teller = createTeller(({ type }) => {
    order.push(`${type} begins`)
    if (type === 'loading') teller.tell({ type: 'alive' })
    order.push(`${type} ends`)
  })
  teller.tell({ type: 'loading' })
  expect(order).toEqual(['loading begins', 'loading ends', 'alive begins', 'alive ends'])
})

it('tells one close, and nothing after it', () => {
  const told: string[] = []
  const teller = createTeller(({ type }) => {
    told.push(type)
    teller.tell({ type: 'alive' })
    teller.tell(close)
  })
  teller.tell(close)
  teller.tell({ type: 'alive' })
  expect(told).toEqual(['close'])
})
