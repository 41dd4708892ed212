import { describe, expect, it } from 'vitest'
import { canonicalUrl } from './aliases.js'

describe('the seeds’ paths lead to the canonical ones', () => {
  it.each([
    ['/instances', '/api/instances'],
    ['/instance', '/api/instances'],
    ['/instances/ins_1/qr', '/api/instances/ins_1/qr'],
    ['/instances/ins_1/status?x=/instance', '/api/instances/ins_1/status?x=/instance'],
    ['/api/instance/ins_1/enable', '/api/instances/ins_1/enable'],
    ['/instance/ins_1/details', '/api/instances/ins_1/details'],
    ['/messages', '/api/messages'],
    ['/messages?chat=1', '/api/messages?chat=1'],
    ['/outreach/campaigns/cmp_1/start', '/api/outreach/campaigns/cmp_1/start'],
    ['/webhooks/whe_1/test', '/api/webhooks/whe_1/test'],
    ['/dead-letters/job_1/retry', '/api/dead-letters/job_1/retry'],
    ['/memory/report', '/api/memory/report'],
    ['/health/check', '/api/health/check'],
    ['/live', '/api/live'],
  ])('%s', (alias, canonical) => {
    expect(canonicalUrl(alias)).toBe(canonical)
    expect(canonicalUrl(canonical), 'what is canonical stays').toBe(canonical)
  })
})

describe('a path of its own is left alone', () => {
  it.each([
    '/',
    '/health',
    '/livez',
    '/readyz',
    '/startupz',
    '/metrics',
    '/docs/',
    '/docs/errors',
    '/openapi.json',
    '/dashboard/instances',
    '/webhook/evolution',
    '/webhooks/mercadopago',
    '/webhooks/mercadopago?data.id=1',
    '/evolution/instance/create',
    '/cloud/v20.0/1/messages',
    '/instancesx',
    '/api/instances-x',
    '//instances',
    '/api/api/instances',
  ])('%s', (path) => {
    expect(canonicalUrl(path)).toBe(path)
  })
})
