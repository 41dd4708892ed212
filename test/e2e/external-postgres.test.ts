import { expect, test } from 'vitest'
import { createEmptyDatabase } from '../support/database.js'
import { launchMirante } from '../support/launch.js'
import { describeWithService } from '../support/services.js'

describeWithService('postgres', 'on a PostgreSQL server of the operator', () => {
  test('serve brings an empty database up, and a second start finds everything as it was', async () => {
    const database = await createEmptyDatabase()
    try {
      const env = { DATABASE_URL: database.url, LOG_LEVEL: 'error' }
      const first = await launchMirante({ env })
      const created = await first.api('POST', '/api/instances', { body: { name: 'kept', enabled: false } })
      expect(created.status).toBe(201)
      expect((await first.api('GET', '/health')).body.status).toBe('healthy')
      await first.stop()
      const second = await launchMirante({ env })
      const found = await second.api('GET', `/api/instances/${created.body.id}`)
      expect(found.body).toMatchObject({ name: 'kept', enabled: false })
      await second.stop()
    } finally {
      await database.drop()
    }
  })
})
