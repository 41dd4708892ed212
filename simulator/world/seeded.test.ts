import { describe, expect, it } from 'vitest'
import { createSeeded } from './seeded.js'
import { createWorld, phoneFromName } from './world.js'

describe('what a seed decides', () => {
  it('does not depend on the order of asking', () => {
    const [one, two] = [createWorld(createSeeded(1)), createWorld(createSeeded(1))]
    one.person('5511900000001')
    expect(one.person('5511900000002').lid).toBe(two.person('5511900000002').lid)
  })

  it('draws numbers in range, the same ones again', () => {
    const draw = () => Array.from({ length: 20 }, createSeeded(3).stream('x'))
    expect(draw()).toEqual(draw())
    expect(draw().every((number) => number >= 0 && number < 1)).toBe(true)
  })

  it('gives a push name one number in every world', () => {
    expect(phoneFromName('Loja Central')).toBe(phoneFromName('Loja Central'))
    expect(phoneFromName('Loja Central')).not.toBe(phoneFromName('Loja Norte'))
    expect(phoneFromName('Loja Central')).toMatch(/^55119\d{8}$/)
  })
})
