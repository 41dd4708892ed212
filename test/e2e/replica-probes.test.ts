/** The probes of deploy/kubernetes, asked of a Mirante with that environment, through its life. */
import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/database.js'
import { readManifests } from '../support/deploy/artefacts.js'
import { eventually } from '../support/eventually.js'
import { launchMirante, type MiranteProcess } from '../support/launch.js'

const [container] = readManifests('kubernetes/mirante.yaml').flatMap((found) =>
  found.kind === 'Deployment' ? found.spec.template.spec.containers : [],
)
if (!container) throw new Error('there is no container')
const probes = {
  startup: container.startupProbe.httpGet.path,
  liveness: container.livenessProbe.httpGet.path,
  readiness: container.readinessProbe.httpGet.path,
}

describe('a replica with the environment of the manifests', () => {
  let database: TestDatabase
  let mirante: MiranteProcess
  beforeAll(async () => {
    database = await createTestDatabase()
    const plain = container.env.flatMap((variable) => ('value' in variable ? [[variable.name, variable.value]] : []))
    mirante = await launchMirante({
      output: 'ignore',
      env: {
        ...Object.fromEntries(plain),
        // Its name comes from the pod, and its bucket is not here.
        REPLICA_NAME: 'mirante-7d4b9c-x2x9z',
        STORAGE_URL: 'file:',
        DATABASE_URL: database.url,
        ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
      },
    })
  })
  afterAll(async () => {
    await mirante.stop()
    await database.drop()
    rmSync(mirante.directory, { recursive: true, force: true })
  })

  const ask = async (path: string) => (await mirante.api('GET', path)).status

  it('answers every probe when it has started', async () => {
    for (const path of Object.values(probes)) expect(await ask(path)).toBe(200)
  })

  it('leaves the pool first when it is told to stop, goes on answering, and ends in peace', async () => {
    const stopped = mirante.stop()
    await eventually(async () => (await ask(probes.readiness)) === 503, 'it leaves the pool')
    expect(await ask(probes.liveness)).toBe(200)
    expect(await ask('/api/instances')).toBe(200)
    await stopped
    expect(mirante.alive).toBe(false)
    await expect(ask(probes.liveness)).rejects.toThrow()
  })
})
