import { expect, it } from 'vitest'
import { databaseHosts, problemOfDatabaseUrl } from './database-url.js'

it('leaves the URL of one host as it is', () => {
  const url = 'postgres://user:p%40ss@db.example/mirante?sslmode=require&options=-c%20geqo%3Doff'
  expect(databaseHosts(url)).toEqual([{ place: 'db.example:5432', url }])
})

it('makes of several hosts a URL each, with everything else of it, and asks the driver for nothing it does not know', () => {
  const url = 'postgresql://user:a@b@one:5433,two,[::1]:5434/mirante?target_session_attrs=read-write&sslmode=require'
  expect(databaseHosts(url.replace('a@b', 'a%40b'))).toEqual([
    { place: 'one:5433', url: 'postgresql://user:a%40b@one:5433/mirante?sslmode=require' },
    { place: 'two:5432', url: 'postgresql://user:a%40b@two/mirante?sslmode=require' },
    { place: '[::1]:5434', url: 'postgresql://user:a%40b@[::1]:5434/mirante?sslmode=require' },
  ])
})

it('takes the folder of a Unix socket', () => {
  const url = 'postgres:///mirante?host=/run/postgresql'
  expect(databaseHosts(url)).toEqual([{ place: '/run/postgresql:5432', url }])
})

it.each([
  ['mysql://one/db', /must be a URL/],
  ['one:5432/db', /must be a URL/],
  ['postgres://one:5432,two:nonsense/db', /must be a URL/],
  ['postgres://one,one:5432/db', /names one:5432 twice/],
  ['postgres:///db?host=one,two', /before the path/],
  ['postgres://one,two/db?target_session_attrs=any', /must have target_session_attrs=read-write/],
])('says what is wrong with %s', (url, problem) => {
  expect(problemOfDatabaseUrl(url)).toMatch(problem)
  expect(() => databaseHosts(url)).toThrow(problem)
})
