import { expect, test } from 'vitest'
import { AppError } from '../../kernel/errors.js'
import { parseRecipient } from './recipient.js'

test.each([
  ['+5511987654321', 'phone', '+5511987654321'],
  ['5511987654321', 'phone', '+5511987654321'],
  ['+55 (11) 98765-4321', 'phone', '+5511987654321'],
  ['5511987654321@s.whatsapp.net', 'phone', '+5511987654321'],
  ['5511987654321:12@s.whatsapp.net', 'phone', '+5511987654321'],
  // An old mobile without the ninth digit is a real address.
  ['+551187654321', 'phone', '+551187654321'],
  ['123456789012345@lid', 'lid', '123456789012345'],
  ['123456789012345:3@lid', 'lid', '123456789012345'],
  ['@maria.silva', 'username', 'maria.silva'],
  [' @Maria_Silva2 ', 'username', 'maria_silva2'],
  ['BR.150212345678901', 'bsuid', 'BR.150212345678901'],
  ['US.ENT.13491208655302741918', 'bsuid', 'US.ENT.13491208655302741918'],
  [`BR.${'1'.repeat(128)}`, 'bsuid', `BR.${'1'.repeat(128)}`],
])('%s names the %s %s', (to, kind, value) => {
  expect(parseRecipient(to)).toEqual({ kind, value })
})

test.each([
  '',
  '   ',
  'maria',
  '+',
  '123',
  '+5511',
  '55119876543210000',
  '12-34@g.us',
  'x@s.whatsapp.net',
  'a'.repeat(65),
  '@',
  '@ab',
  '@123456',
  '@.maria',
  '@maria..silva',
  '@maria silva',
  'br.1502',
  'BR.',
  'BRA.1502',
  `BR.${'1'.repeat(129)}`,
])('%j is refused as invalid_number, without echoing it', (to) => {
  const refusal = catchError(() => parseRecipient(to))
  expect(refusal).toBeInstanceOf(AppError)
  expect(refusal).toMatchObject({ code: 'invalid_number', status: 400 })
  expect((refusal as AppError).errors[0]?.pointer).toBe('/to')
  if (to.trim().length > 1) expect((refusal as AppError).message).not.toContain(to)
})

function catchError(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return undefined
}
