import { describe, expect, it, test } from 'vitest'
import { parseRedisUrl } from './redis-url.js'

const plain = { username: undefined, password: undefined, tls: false }

describe('parseRedisUrl', () => {
  it.each([
    ['redis://cache', { kind: 'server', address: { host: 'cache', port: 6_379 }, db: 0, ...plain }],
    [
      'rediss://ann:p%40ss%2F1@cache.example:6380/3',
      {
        ...{ kind: 'server', address: { host: 'cache.example', port: 6_380 }, db: 3 },
        ...{ username: 'ann', password: 'p@ss/1', tls: true },
      },
    ],
    [
      'redis://:secret@[::1]:7000',
      {
        ...{ kind: 'server', address: { host: '::1', port: 7_000 }, db: 0 },
        ...{ username: undefined, password: 'secret', tls: false },
      },
    ],
    [
      'redis+sentinel://:pw@h1,h2:26380/mirante/2?sentinelPassword=other',
      {
        kind: 'sentinel',
        sentinels: [
          { host: 'h1', port: 26_379 },
          { host: 'h2', port: 26_380 },
        ],
        master: 'mirante',
        db: 2,
        sentinelPassword: 'other',
        ...{ username: undefined, password: 'pw', tls: false },
      },
    ],
    [
      'rediss+cluster://h1:7000,h2',
      {
        kind: 'cluster',
        nodes: [
          { host: 'h1', port: 7_000 },
          { host: 'h2', port: 6_379 },
        ],
        ...plain,
        tls: true,
      },
    ],
  ])('reads %s', (text, target) => {
    expect(parseRedisUrl(text)).toEqual(target)
  })

  it.each([
    ['http://cache', /begin with redis/],
    ['redis://', /name a host/],
    ['redis://h1,h2', /several hosts/],
    ['redis://h1/zero', /number of a database/],
    ['redis://h1/1/2', /number of a database/],
    ['redis://h1:99999', /host or port/],
    ['redis://h1?db=2', /mean nothing: db/],
    ['redis+sentinel://h1:26379', /name the master/],
    ['redis+cluster://h1,h2/1', /no database/],
    ['redis://:50%off@h1', /percent/],
  ])('refuses %s', (text, why) => {
    expect(() => parseRedisUrl(text)).toThrow(why)
  })
})

test('what is wrong with a URL is told without its password', () => {
  for (const url of ['redis://me:hunter2@h1,h2', 'redis+cluster://me:hunter2@h1/4', 'redis://me:hunter2@h1:0']) {
    expect(() => parseRedisUrl(url)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') }),
    )
  }
})
