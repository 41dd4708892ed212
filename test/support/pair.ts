/** Makes an instance and lets a simulated phone scan its QR. */
import { eventually } from './eventually.js'
import type { MiranteProcess, SimulatorProcess } from './launch.js'

/** Resolves to the public id of the instance when it is CONNECTED. */
export async function pairByQr(
  mirante: Pick<MiranteProcess, 'api'>,
  simulator: SimulatorProcess,
  name: string,
  phone?: string,
): Promise<string> {
  const id = await createInstance(mirante, name)
  // On a busy machine a code may come late, or be old when it is scanned.
  await eventually(async () => {
    await scanQr(mirante, simulator, id, phone)
    return true
  }, `the QR of ${id} is scanned`)
  await connected(mirante, id)
  return id
}

export async function createInstance(mirante: Pick<MiranteProcess, 'api'>, name: string): Promise<string> {
  const created = await mirante.api('POST', '/api/instances', { body: { name } })
  if (created.status !== 201) throw new Error(`cannot create an instance: ${JSON.stringify(created.body)}`)
  return created.body.id
}

/** Throws when there is none to scan, or when it is refused. */
export async function scanQr(
  mirante: Pick<MiranteProcess, 'api'>,
  simulator: SimulatorProcess,
  instanceId: string,
  phone?: string,
): Promise<void> {
  const shown = await mirante.api('GET', `/api/instances/${instanceId}/qr`)
  if (!shown.body.qr) throw new Error(`no QR: ${JSON.stringify(shown.body)}`)
  await simulator.admin('POST', `/admin/mock-phone/scan-qr${phone ? `?phone=${phone}` : ''}`, shown.body.qr.code)
}

export async function connected(mirante: Pick<MiranteProcess, 'api'>, instanceId: string): Promise<void> {
  await eventually(async () => {
    const { body } = await mirante.api('GET', `/api/instances/${instanceId}/status`)
    if (body.connectionStatus === 'CONNECTED') return true
    throw new Error(`it is ${body.connectionStatus}, ${body.reason}`)
  }, `${instanceId} is connected`)
}

/** How many of the first 200 instances are connected. */
export async function connectedCount(mirante: MiranteProcess): Promise<number> {
  const { body } = await mirante.api('GET', '/api/instances?limit=200')
  return body.data.filter((instance: { connectionStatus: string }) => instance.connectionStatus === 'CONNECTED').length
}
