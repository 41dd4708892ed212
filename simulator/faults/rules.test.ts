import { describe, expect, it } from 'vitest'
import { createFaults } from './rules.js'

const half = () => 0.5

describe('fault rules', () => {
  it('fire once, after what they let pass, only where they match', () => {
    const faults = createFaults(half)
    faults.add({ action: 'nack', contact: '55', after: 2 })
    const subject = { contact: '55', tag: 'message' }
    expect(faults.take('message', { contact: '66' })).toHaveLength(0)
    expect(faults.take('delivery', subject)).toHaveLength(0)
    expect([1, 2, 3, 4].map(() => faults.take('message', subject).length)).toEqual([0, 0, 1, 0])
  })

  it('fire so often, or forever, until they are removed', () => {
    const faults = createFaults(half)
    const twice = faults.add({ action: 'withhold-ack', count: 2 })
    const always = faults.add({ action: 'delay-ack', count: 'forever' })
    expect([1, 2, 3].map(() => faults.take('ack', {}).length)).toEqual([2, 2, 1])
    expect(twice).toMatchObject({ seen: 3, fired: 2 })
    faults.remove(always.faultId)
    expect(faults.take('ack', {})).toHaveLength(0)
  })

  it('fire by chance', () => {
    const faults = createFaults(half)
    faults.add({ action: 'drop', probability: 0.4, count: 'forever' })
    expect(faults.take('stanza', {})).toHaveLength(0)
    faults.add({ action: 'drop', probability: 0.6, count: 'forever' })
    expect(faults.take('stanza', {})).toHaveLength(1)
  })
})
