import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { commands } from './commands.js'
import { completedCommands } from './completion.js'
import { bashScript, fishScript, zshScript } from './completion-scripts.js'

const all = await completedCommands(commands)
let directory: string
/** Stands for the installed command: knows two instances. */
let program: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'mirante-completion-'))
  program = join(directory, 'mirante')
  writeFileSync(program, '#!/bin/sh\n[ "$1" = complete-instances ] && printf "support\\nsales\\n"\n')
  chmodSync(program, 0o755)
})
afterAll(() => rmSync(directory, { recursive: true }))

it('knows every command that help shows, with its options, and none that is hidden', () => {
  const paths = all.map(({ path }) => path)
  expect(paths).toEqual(expect.arrayContaining(['serve', 'dlq', 'dlq retry', 'config explain', 'listen']))
  expect(paths).not.toContain('complete-instances')
  expect(all.find(({ path }) => path === 'dlq retry')?.flags.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['all', 'kind', 'yes', 'json', 'help']),
  )
})

function completeInBash(line: string): string[] {
  const words = line.split(' ')
  const script = `${bashScript(all)}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
COMP_WORDS[0]='${program}'
_mirante
printf '%s\\n' "\${COMPREPLY[@]}"`
  const output = execFileSync('bash', ['--norc', '-c', script], { encoding: 'utf8' })
  return output.split('\n').filter(Boolean)
}

describe('in bash', () => {
  it.each([
    ['mirante do', ['doctor']],
    ['mirante dlq ', ['list', 'show', 'retry', 'discard']],
    ['mirante dlq re', ['retry']],
    ['mirante dlq retry --a', ['--all']],
    ['mirante listen --for', ['--forward-to']],
    ['mirante completion ', ['bash', 'zsh', 'fish']],
    ['mirante config ex', ['explain']],
    ['mirante qr s', ['support', 'sales']],
    ['mirante qr sup', ['support']],
    ['mirante send --url http://127.0.0.1:3000 su', ['support']],
    ['mirante qr support s', []],
    ['mirante tail --instance sa', ['sales']],
    ['mirante --v', ['--version']],
    ['mirante frobnicate x', []],
  ])('"%s" is completed to %j', (line, expected) => {
    expect(completeInBash(line)).toEqual(expected)
  })

  it('every command is offered', () => {
    const top = all.map(({ path }) => path).filter((path) => !path.includes(' '))
    expect(completeInBash('mirante ')).toEqual(top)
  })
})

const runIn = (shell: string, args: readonly string[]): string => execFileSync(shell, args, { encoding: 'utf8' })

/** Whether a shell is here to be asked. */
function has(shell: string): boolean {
  try {
    return runIn(shell, ['--version']) !== ''
  } catch {
    return false
  }
}

// Few machines have these shells, and nobody should have to install one for the tests: they are asked where they are.
if (has('zsh')) {
  it('zsh reads its script without complaint', () => {
    runIn('zsh', ['-f', '-c', `autoload -U compinit && compinit -D -u && ${zshScript(all)}`])
  })
}

if (has('fish')) {
  it('fish completes commands and options', () => {
    const ask = (line: string) =>
      runIn('fish', ['--no-config', '-c', `${fishScript(all)}\ncomplete --do-complete '${line}'`])
    expect(ask('mirante do')).toMatch(/^doctor\t/m)
    expect(ask('mirante dlq re')).toMatch(/^retry\t/m)
    expect(ask('mirante dlq retry --a')).toMatch(/^--all\t/m)
  })
}

it('the scripts for zsh and fish name every command and option too', () => {
  const [zsh, fish] = [zshScript(all), fishScript(all)]
  for (const { path, flags } of all) {
    expect(zsh).toContain(`'${path}')`)
    for (const { name } of flags) {
      expect(zsh).toContain(`--${name}`)
      expect(fish).toContain(` -l ${name}`)
    }
  }
})
