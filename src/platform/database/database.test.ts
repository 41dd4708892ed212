import { describe, expect, it } from 'vitest'
import { isDatabaseUnavailable, sqlState } from './database.js'

const withCode = (code: string) => Object.assign(new Error('it failed'), { code })

describe('sqlState', () => {
  it('is the code of an error of PostgreSQL, and not one of Node', () => {
    expect(sqlState(withCode('23505'))).toBe('23505')
    expect(sqlState(withCode('XX000'))).toBe('XX000')
    expect(sqlState(withCode('EPIPE'))).toBeUndefined()
    expect(sqlState(new Error('no code'))).toBeUndefined()
    expect(sqlState(undefined)).toBeUndefined()
  })
})

describe('isDatabaseUnavailable', () => {
  it.each([
    ...['08006', '57P01', '57P02', '57P03', '53300', '25006'],
    ...['ECONNREFUSED', 'EPIPE', 'EHOSTUNREACH', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END'],
  ])('holds for %s', (code) => {
    expect(isDatabaseUnavailable(withCode(code))).toBe(true)
  })

  it.each(['23505', '40001', '57014', '42501', 'ERR_INVALID_ARG_TYPE'])('does not hold for %s', (code) => {
    expect(isDatabaseUnavailable(withCode(code))).toBe(false)
  })

  it.each([
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'timeout exceeded when trying to connect',
    'timeout expired',
    'Query read timeout',
    'Client has encountered a connection error and is not queryable',
    'Client was closed and is not queryable',
  ])('holds for what the driver says without a code: %s', (words) => {
    expect(isDatabaseUnavailable(new Error(words))).toBe(true)
  })

  it('does not hold for an error of the caller', () => {
    expect(isDatabaseUnavailable(new Error('boom'))).toBe(false)
    expect(isDatabaseUnavailable(null)).toBe(false)
  })
})
