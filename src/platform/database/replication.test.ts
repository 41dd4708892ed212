import sql from 'sql-template-tag'
import { afterEach, describe, expect, it } from 'vitest'
import { type PostgresPair, startPostgresPair, whyNoPair } from '../../../test/support/servers/postgres-pair.js'
import { createPostgres } from './postgres.js'
import { judgeReplication, readReplication } from './replication.js'

const codes = (facts: Parameters<typeof judgeReplication>[0]) => judgeReplication(facts).map(({ code }) => code)

it('names what a failover would lose, and what stops all commits', () => {
  expect(codes({ hosts: 1, waitsForStandby: false, synchronousStandbys: 0 })).toEqual([])
  expect(codes({ hosts: 2, waitsForStandby: true, synchronousStandbys: 1 })).toEqual([])
  expect(codes({ hosts: 2, waitsForStandby: true, synchronousStandbys: null })).toEqual([])
  expect(codes({ hosts: 1, waitsForStandby: true, synchronousStandbys: 0 })).toEqual(['no_sync_standby'])
  expect(codes({ hosts: 2, waitsForStandby: false, synchronousStandbys: 0 })).toEqual(['asynchronous_standby'])
})

describe.skipIf(whyNoPair())('a real primary', () => {
  let pair: PostgresPair | undefined
  afterEach(() => pair?.stop())

  it('tells whether its synchronous standby is there, to who may know', async () => {
    pair = await startPostgresPair()
    const open = (url: string) =>
      createPostgres({ url, max: 1, applicationName: 'test', onError: () => {}, systemRole: null })
    const db = open(pair.primary.url)
    expect(await readReplication(db)).toEqual({ waitsForStandby: true, synchronousStandbys: 1 })
    await db.execute(sql`create role nobody_special login`)
    const ordinary = open(pair.primary.url.replace('postgres@', 'nobody_special@'))
    expect(await readReplication(ordinary)).toEqual({ waitsForStandby: true, synchronousStandbys: null })
    await pair.cutReplication()
    expect(await readReplication(db)).toEqual({ waitsForStandby: true, synchronousStandbys: 0 })
    await db.close()
    await ordinary.close()
  }, 120_000)
})
