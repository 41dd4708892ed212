/**
 * Bare Baileys with many numbers in one process: the yardstick of memory. Each order pairs more, until there are so many.
 * Compiled code, as ours is: a loader of TypeScript in the process would weigh more than all numbers.
 */
import { connectBareClient } from '../../dist/simulator/testing/bare-client.js'

const clients = []

process.on('message', ({ target, numbers }) => {
  grow(target, numbers).then(
    () => process.send?.({ done: true, times: {} }),
    (error) => process.send?.({ done: false, error: String(error) }),
  )
})

async function grow(target, numbers) {
  while (clients.length < numbers) {
    const client = connectBareClient(target, { pushName: `bare ${clients.length}` })
    await client.pair()
    clients.push(client)
  }
}
