/** Pairs N accounts with bare Baileys, closes them, and times how long it takes to log all in again, 8 at once. */
import { connectBareClient } from '../../simulator/testing/bare-client.js'
import { closedLoop } from '../lib/load.js'

const { numbers, ...target } = JSON.parse(process.argv[2] ?? '{}')
const clients: ReturnType<typeof connectBareClient>[] = []
for (let index = 0; index < numbers; index++) {
  const client = connectBareClient(target, { pushName: `bare ${index}` })
  await client.pair()
  client.close()
  clients.push(client)
}
const { elapsedMs } = await closedLoop({ concurrency: 8, count: numbers }, async (index) => {
  await clients[index]?.reconnect()
  return true
})
process.send?.({ elapsedMs })
