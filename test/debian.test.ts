import { describe, expect, it } from 'vitest'
import { requireDebian } from './support/debian.js'

describe('packages of Debian', () => {
  it('are left alone where they are there', () => {
    expect(() => requireDebian(['dpkg'])).not.toThrow()
  })

  it('are named, with what to do, where they cannot be had', () => {
    expect(() => requireDebian(['mirante-no-such-package'])).toThrow(/mirante-no-such-package/)
  })
})
