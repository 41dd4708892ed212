/** Entry of a child process of `serve`; see child-runtime.ts. */
import { runChild } from './child-runtime.js'
import { parseRoles } from './roles.js'
import { loadRoles } from './start-roles.js'

// At once: while the supervisor readies the database, the code is read and compiled.
const loading = loadRoles(parseRoles(process.argv[3] ?? '') ?? [])
// Told by the start that waits for it.
loading.catch(() => {})

runChild(async (start, signal) => (await loading)(start, signal))
