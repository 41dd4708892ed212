import { expect, test } from 'vitest'
import { allRoles, parseRoles, planProcesses } from './roles.js'

const layout = (plans: ReturnType<typeof planProcesses>) =>
  plans.map(({ name, roles, slot }) => [name, roles.join(), slot])

test('by default one process answers and works, and one holds the numbers', () => {
  expect(layout(planProcesses({ roles: allRoles, gateways: 1, single: false }))).toEqual([
    ['web', 'web,worker,scheduler', 0],
    ['gateway-0', 'gateway', 0],
  ])
})

test('each gateway has a slot of its own', () => {
  const plans = planProcesses({ roles: ['gateway'], gateways: 3, single: false })
  expect(layout(plans)).toEqual([
    ['gateway-0', 'gateway', 0],
    ['gateway-1', 'gateway', 1],
    ['gateway-2', 'gateway', 2],
  ])
})

test('single puts all in one process', () => {
  expect(layout(planProcesses({ roles: allRoles, gateways: 4, single: true }))).toEqual([
    ['all', 'web,gateway,worker,scheduler', 0],
  ])
})

test('roles without web are named by the first of them', () => {
  expect(layout(planProcesses({ roles: ['worker', 'scheduler'], gateways: 1, single: false }))).toEqual([
    ['worker', 'worker,scheduler', 0],
  ])
})

test('roles are read in any order, and a word that is none is refused', () => {
  expect(parseRoles('worker, web')).toEqual(['web', 'worker'])
  expect(parseRoles('web,cook')).toBeUndefined()
  expect(parseRoles('')).toBeUndefined()
})
