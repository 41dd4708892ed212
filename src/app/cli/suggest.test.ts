import { expect, it } from 'vitest'
import { closest, didYouMean } from './suggest.js'

const commands = ['serve', 'migrate', 'doctor', 'listen', 'dlq', 'tail', 'config', 'completion']

it.each([
  ['docter', 'doctor'],
  ['serv', 'serve'],
  ['sevre', 'serve'],
  ['LISTEN', 'listen'],
  ['dql', 'dlq'],
  ['comp', 'completion'],
])('%s means %s', (word, meant) => {
  expect(closest(word, commands)).toBe(meant)
  expect(didYouMean(word, commands)).toBe(` Did you mean ${meant}?`)
})

it.each(['frobnicate', 'co', 'x', ''])('%j is left alone', (word) => {
  expect(didYouMean(word, commands)).toBe('')
})
