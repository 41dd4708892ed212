/** Makes an instance and lets a simulated phone scan its QR. */
import { eventually } from './eventually.js'
import type { MiranteProcess, SimulatorProcess } from './launch.js'

/** Resolves to the public id of the instance when it is CONNECTED. */
export async function pairByQr(
  mirante: MiranteProcess,
  simulator: SimulatorProcess,
  name: string,
  phone?: string,
): Promise<string> {
  const created = await mirante.api('POST', '/api/instances', { body: { name } })
  if (created.status !== 201) throw new Error(`cannot create an instance: ${JSON.stringify(created.body)}`)
  const { id } = created.body
  // On a busy machine a code may come late, or be old when it is scanned.
  await eventually(async () => {
    const shown = await mirante.api('GET', `/api/instances/${id}/qr`)
    if (!shown.body.qr) throw new Error(`no QR: ${JSON.stringify(shown.body)}`)
    await simulator.admin('POST', `/admin/mock-phone/scan-qr${phone ? `?phone=${phone}` : ''}`, shown.body.qr.code)
    return true
  }, `the QR of ${id} is scanned`)
  await connected(mirante, id)
  return id
}

export async function connected(mirante: MiranteProcess, instanceId: string): Promise<void> {
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
