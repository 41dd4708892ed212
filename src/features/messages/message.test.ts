import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  givingUp,
  type MessageStatus,
  messageStatuses,
  movesForward,
  nextTry,
  type ReceiptStatus,
  rank,
} from './message.js'

const receipts: readonly ReceiptStatus[] = ['sent', 'delivered', 'read', 'played', 'failed']

test('in whatever order receipts come, a status never moves backwards', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...receipts)), (order) => {
      let status: MessageStatus = 'sending'
      for (const receipt of order) {
        if (!movesForward(status, receipt)) continue
        expect(rank(receipt)).toBeGreaterThan(rank(status))
        status = receipt
      }
    }),
  )
})

test('a refusal after WhatsApp confirmed the message changes nothing', () => {
  for (const status of ['sent', 'delivered', 'read', 'played'] as const)
    expect(movesForward(status, 'failed')).toBe(false)
  for (const status of ['queued', 'sending', 'unknown'] as const) expect(movesForward(status, 'failed')).toBe(true)
})

test('what has ended, or came in, takes no receipt', () => {
  for (const status of ['failed', 'cancelled', 'received'] as const) {
    for (const receipt of receipts) expect(movesForward(status, receipt)).toBe(false)
  }
})

test('an unknown message is saved by a late receipt', () => {
  expect(movesForward('unknown', 'delivered')).toBe(true)
})

test('every status has its place in the order', () => {
  expect(new Set(messageStatuses).size).toBe(messageStatuses.length)
})

test('a message is tried again later and later, and given up by strikes, tries or age', () => {
  fc.assert(
    fc.property(fc.nat(10), fc.nat(80), fc.nat(30 * 3_600_000), (strikes, attempts, ageMs) => {
      const next = nextTry({ strikes, attempts, ageMs }, givingUp)
      const spent = strikes >= givingUp.maxStrikes || attempts >= givingUp.maxAttempts || ageMs >= givingUp.maxAgeMs
      expect(next === 'give-up').toBe(spent)
      if (next !== 'give-up') expect(next.inMs).toBeLessThanOrEqual(givingUp.maxMs)
    }),
  )
  expect(nextTry({ strikes: 0, attempts: 7, ageMs: 0 }, givingUp)).toEqual({ inMs: 0 })
})
