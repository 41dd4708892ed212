/** deploy/ agrees with itself and with Mirante, as far as that can be read: what runs is in test/e2e and test/chaos. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { inspectConfig } from '../src/app/config.js'
import { type Variable, variables } from '../src/app/config-variables.js'
import { deployDirectory, listArtefacts, readArtefact, readCompose, readManifests } from './support/deploy/artefacts.js'
import type { ComposeService } from './support/deploy/compose-schema.js'

const composeFiles = ['compose.yml', 'compose.ha.yml', 'stack.yml']
const manifestFiles = ['kubernetes/mirante.yaml', 'kubernetes/secret.example.yaml']
const PORT = variables.port.default()
const known = new Map<string, Variable>(Object.values(variables).map((variable) => [variable.name, variable]))

const secrets = mkdtempSync(join(tmpdir(), 'mirante-secrets-'))
afterAll(() => rmSync(secrets, { recursive: true, force: true }))
const makeSecrets = (): void => void execFileSync(join(deployDirectory, 'make-secrets.sh'), [secrets])

/** Those that run Mirante. */
const replicasOf = (file: string): [string, ComposeService][] =>
  Object.entries(readCompose(file).services).filter(([name]) => name.startsWith('mirante') && name !== 'minio-bucket')

const deployment = () => {
  const [found] = readManifests('kubernetes/mirante.yaml').filter(({ kind }) => kind === 'Deployment')
  if (found?.kind !== 'Deployment') throw new Error('there is no Deployment')
  return found.spec.template.spec
}

/** Whether a variable can be given by this name: its own, or that of a file for a secret. */
const isVariable = (name: string): boolean =>
  known.has(name) || (name.endsWith('_FILE') && known.get(name.slice(0, -'_FILE'.length))?.secret === true)

describe.each(composeFiles)('%s', (file) => {
  it('is what Compose takes, and names only what it has', () => {
    const { services, volumes = {}, secrets: named = {}, configs = {} } = readCompose(file)
    for (const service of Object.values(services)) {
      const before = service.depends_on ?? []
      for (const name of Array.isArray(before) ? before : Object.keys(before)) expect(services).toHaveProperty([name])
      for (const secret of service.secrets ?? [])
        expect(named).toHaveProperty([typeof secret === 'string' ? secret : secret.source])
      for (const { source } of service.configs ?? []) expect(configs).toHaveProperty([source])
      for (const volume of service.volumes ?? []) {
        const [from = ''] = volume.split(':')
        if (from.startsWith('.')) expect(existsSync(join(deployDirectory, from)), from).toBe(true)
        else expect(volumes).toHaveProperty([from])
      }
      if (service.build) {
        const context = join(deployDirectory, service.build.context)
        expect(existsSync(join(context, service.build.dockerfile))).toBe(true)
      }
    }
    for (const config of Object.values(configs)) expect(existsSync(join(deployDirectory, config.file))).toBe(true)
  })

  it('gives Mirante variables that it reads, secrets from files only, and time to stop', () => {
    expect(replicasOf(file)).not.toHaveLength(0)
    for (const [name, { environment = {}, stop_grace_period: grace = '', secrets: mounted = [] }] of replicasOf(file)) {
      for (const variable of Object.keys(environment)) {
        expect(isVariable(variable), `${name}: ${variable}`).toBe(true)
        expect(known.get(variable)?.secret, `${variable} is a secret`).not.toBe(true)
      }
      for (const path of Object.values(environment).filter((value) => value.startsWith('/run/secrets/')))
        expect(mounted).toContain(path.slice('/run/secrets/'.length))
      const drainWait = Number(environment.DRAIN_WAIT_MS ?? 0) / 1_000
      expect(Number.parseInt(grace, 10)).toBeGreaterThanOrEqual(30 + drainWait)
    }
  })
})

describe('the replicas of compose.ha.yml', () => {
  it('have names of their own, and are the pool of the balancer', () => {
    const names = replicasOf('compose.ha.yml').map(([name, { environment }]) => {
      expect(environment?.REPLICA_NAME).toBe(name)
      return name
    })
    const pool = [...readArtefact('nginx/upstream.conf').matchAll(/^ *server (\S+):(\d+)/gm)]
    expect(pool.map(([, name, port]) => [name, port])).toEqual(names.map((name) => [name, PORT]))
  })

  it('get a configuration that Mirante takes, with the secrets that make-secrets.sh makes', () => {
    makeSecrets()
    for (const [, { environment = {} }] of replicasOf('compose.ha.yml')) {
      const here = Object.entries(environment).map(([name, value]) => [name, value.replace('/run/secrets', secrets)])
      expect(inspectConfig({}, Object.fromEntries(here)).problems).toEqual([])
    }
  })
})

describe('make-secrets.sh', () => {
  it('makes every secret of compose.ha.yml, differently each time, and never again', () => {
    makeSecrets()
    const made = readdirSync(secrets)
    const { secrets: named = {} } = readCompose('compose.ha.yml')
    for (const name of Object.keys(named)) expect(made).toContain(name)
    expect(statSync(secrets).mode & 0o777).toBe(0o700)
    const before = readFileSync(join(secrets, 'encryption_key'), 'utf8')
    makeSecrets()
    expect(readFileSync(join(secrets, 'encryption_key'), 'utf8')).toBe(before)
    rmSync(join(secrets, 'encryption_key'))
    makeSecrets()
    expect(readFileSync(join(secrets, 'encryption_key'), 'utf8')).not.toBe(before)
  })

  it('writes where nothing is committed from', () => {
    const ignored = join(deployDirectory, 'secrets', 'encryption_key')
    expect(() => execFileSync('git', ['check-ignore', '-q', ignored], { cwd: deployDirectory })).not.toThrow()
  })
})

describe('the manifests of Kubernetes', () => {
  it('are what Kubernetes takes', () => {
    const kinds = manifestFiles.flatMap((file) => readManifests(file).map(({ kind }) => kind))
    expect(kinds.toSorted()).toEqual(
      ['Deployment', 'HorizontalPodAutoscaler', 'Ingress', 'PodDisruptionBudget', 'Secret', 'Service'].toSorted(),
    )
  })

  it('give Mirante variables that it reads: secrets from the Secret only', () => {
    const [container] = deployment().containers
    for (const { name } of container.env) expect(known.get(name)?.secret, name).not.toBe(true)
    const [secret] = readManifests('kubernetes/secret.example.yaml')
    const inSecret = secret?.kind === 'Secret' ? Object.keys(secret.stringData) : []
    for (const name of [...container.env.map(({ name }) => name), ...inSecret]) expect(known.has(name), name).toBe(true)
    for (const name of inSecret) expect(known.get(name)?.secret, name).toBe(true)
  })

  it('agree on names and ports, and leave time to stop', () => {
    const manifests = readManifests('kubernetes/mirante.yaml')
    for (const found of manifests) expect(found.metadata.name).toBe('mirante')
    const { containers, terminationGracePeriodSeconds: grace, volumes } = deployment()
    const [container] = containers
    expect(container.ports.map(({ containerPort }) => String(containerPort))).toEqual([PORT])
    const drain = container.env.find(({ name }) => name === 'DRAIN_WAIT_MS')
    expect(grace).toBeGreaterThanOrEqual(30 + Number(drain && 'value' in drain ? drain.value : 0) / 1_000)
    // So long the endpoint is still asked: the wait has to outlast it.
    const { periodSeconds, failureThreshold } = container.readinessProbe
    expect(periodSeconds * failureThreshold * 1_000).toBeLessThan(Number(drain && 'value' in drain ? drain.value : 0))
    expect(container.volumeMounts.map(({ name }) => name)).toEqual(volumes.map(({ name }) => name))
    for (const found of manifests) {
      if (found.kind === 'Service') expect(found.spec.selector).toEqual({ app: 'mirante' })
      if (found.kind === 'PodDisruptionBudget') expect(found.spec.selector.matchLabels).toEqual({ app: 'mirante' })
      if (found.kind === 'HorizontalPodAutoscaler') {
        expect(found.spec.minReplicas).toBeLessThan(found.spec.maxReplicas)
        expect(found.spec.metrics.map(({ resource }) => resource.name)).toEqual(['cpu', 'memory'])
      }
    }
  })
})

describe('the Dockerfile', () => {
  const dockerfile = readArtefact('Dockerfile')

  it('copies what is there, and what its ignore file lets through', () => {
    const ignoreFile = readArtefact('Dockerfile.dockerignore')
    const root = dirname(deployDirectory.replace(/\/$/, ''))
    for (const [, files = ''] of dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) {
      for (const file of files.split(' ')) {
        expect(existsSync(join(root, file)), file).toBe(true)
        expect(ignoreFile).toContain(`!${file}\n`)
      }
    }
  })

  it('ends as an account that is not root, with variables that Mirante reads', () => {
    const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM'))
    expect(last).toMatch(/^USER node$/m)
    for (const [, name = ''] of last.matchAll(/^ENV (\w+)=/gm))
      expect(isVariable(name) || name === 'NODE_ENV').toBe(true)
    expect(last).toMatch(new RegExp(`^EXPOSE ${PORT}$`, 'm'))
  })
})

describe('what is said to be exercised', () => {
  const root = fileURLToPath(new URL('..', import.meta.url))

  it.each(listArtefacts())('%s says what exercises it, and that is there', (file) => {
    const text = readArtefact(file)
    // Which files go into an image is judged with the Dockerfile.
    if (file.endsWith('.dockerignore')) return
    const marks = [...text.matchAll(/(?:exercised: ([^\n(]+)|schema-checked only)/g)]
    expect(marks).not.toHaveLength(0)
    for (const [, tests] of marks) {
      for (const test of tests?.match(/test\/[\w./-]+/g) ?? []) expect(existsSync(join(root, test)), test).toBe(true)
    }
  })

  it.each(composeFiles)('%s says it of every service, volume, network, configuration and secret', (file) => {
    let section = ''
    let comment = ''
    for (const line of readArtefact(file).split('\n')) {
      if (/^\w/.test(line)) section = line.slice(0, line.indexOf(':'))
      if (/^ {2}[\w-]+:/.test(line) && section !== '')
        expect(comment, line).toMatch(/exercised: test|schema-checked only/)
      if (line.startsWith('x-')) section = ''
      comment = /^ {2}#/.test(line) ? comment + line : ''
    }
  })

  it('says it of every manifest', () => {
    for (const text of readArtefact('kubernetes/mirante.yaml').split(/^---$/m).slice(1))
      expect(text).toMatch(/^# (exercised: test|schema-checked only)/m)
  })
})
