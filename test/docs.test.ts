/** What the documents name is there: the targets of links, files, scripts, commands, routes. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { commands } from '../src/app/cli/commands.js'
import { completedCommands } from '../src/app/cli/completion.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => existsSync(join(root, path)))
const documents = tracked.filter((path) => path.endsWith('.md') && path !== 'CHANGELOG.md')
const matches = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, found]) => found ?? '')

/** As GitHub makes the anchors of headings. */
function anchorsOf(path: string): string[] {
  return matches(read(path), /^#+ (.+)$/gm).map((heading) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe.each(documents)('%s', (document) => {
  const text = read(document)

  it('leads only to what is there', () => {
    for (const link of matches(text, /\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? document : normalize(join(dirname(document), path))
      expect(existsSync(join(root, target)), link).toBe(true)
      if (anchor !== undefined) expect(anchorsOf(target), link).toContain(anchor)
    }
  })

  it('names only files that are there', () => {
    for (const path of matches(text, /`((?:src|test|scripts|simulator|bench|docs)\/[\w./-]+)`/g)) {
      expect(existsSync(join(root, path)), path).toBe(true)
    }
    const names = new Set(tracked.map((path) => path.split('/').at(-1)))
    for (const name of matches(text, /[\s`/(]([\w-]+(?:\.[\w-]+)*\.(?:ts|mjs))\b/g)) {
      const isPattern = /^(?:compose-|bot\.mjs$)/.test(name) && !names.has(name)
      expect(names.has(name) || isPattern, name).toBe(true)
    }
  })

  it('names only scripts and commands that there are', async () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    for (const name of matches(text, /\bnpm run ([\w:]+)/g)) expect(scripts).toHaveProperty([name])
    const paths = (await completedCommands(commands)).map(({ path }) => path)
    const groups = paths.filter((path) => paths.some((other) => other.startsWith(`${path} `)))
    const called = /(?:^|[`\s(])(?:npm start --|node dist\/src\/main\.js|mirante)(?: +)([a-z]+(?: [a-z]+)?)/gm
    // In prose `mirante` stands in code; in blocks at the beginning of a line.
    const code = [...matches(text, /`([^`\n]+)`/g), ...matches(text, /```(?:sh)?\n([\s\S]*?)```/g)].join('\n')
    for (const words of matches(code, called)) {
      const [first = '', second] = words.split(' ')
      expect(paths, words).toContain(groups.includes(first) && second !== undefined ? `${first} ${second}` : first)
    }
  })

  it('names only routes that there are', () => {
    for (const [, method = '', path = ''] of text.matchAll(
      /\b(GET|POST|PATCH|PUT|DELETE) (\/(?:api|livez|readyz|health)[\w/:.-]*)/g,
    )) {
      expect(routes.has(`${method} ${shape(path)}`), `${method} ${path}`).toBe(true)
    }
    for (const path of matches(text, /\$(?:MIRANTE_URL|API|URL)(\/api[\w/$-]*)/g)) {
      expect(
        [...routes].some((route) => route.endsWith(` ${shape(path)}`)),
        path,
      ).toBe(true)
    }
  })
})

/** Whatever a parameter is called: `/api/messages/:id`, `/api/messages/$MSG`, `/api/messages/msg_…`. */
function shape(path: string): string {
  return path.replaceAll(/\/(?::\w+|\$\w+|[a-z]{3}_[^/]*)/g, '/:').replace(/[.-]+$/, '')
}

const routes = new Set(
  tracked
    .filter((path) => /^src\/.*\.ts$/.test(path) && !path.endsWith('.test.ts'))
    .flatMap((path) =>
      [...read(path).matchAll(/\bapp\.(get|post|patch|put|delete)\(\s*'([^']+)'/g)].map(
        ([, method = '', route = '']) => `${method.toUpperCase()} ${shape(route)}`,
      ),
    ),
)

it('both languages have the same documents and the same commands in them', () => {
  const translated = documents.filter((path) => path.endsWith('.pt-BR.md'))
  expect(translated.length).toBeGreaterThan(1)
  for (const path of translated) expect(tracked).toContain(path.replace('.pt-BR', ''))
})
