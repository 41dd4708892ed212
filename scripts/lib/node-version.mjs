/** Imported before anything that an old Node could stumble over. */
const WANTED = [20, 20, 2]

export function requireNode() {
  const have = process.versions.node.split('.').map(Number)
  const first = WANTED.findIndex((part, index) => part !== have[index])
  if (first < 0 || have[first] > WANTED[first]) return
  console.error(`Mirante needs Node ${WANTED.join('.')} or newer; this is ${process.versions.node}.`)
  process.exit(2)
}
