/** What lies behind a number that is stored: chats from before it was linked, groups, and files both ways. */
import { eventually } from '../../test/support/eventually.js'
import { createFiles } from './files.js'
import type { Recipients } from './mix.js'
import type { World } from './world.js'

const CHATS = 10
const TEXTS_PER_CHAT = 20
/** One whole turn of the mix. */
export const SENT_BEFORE = 20
/** A number is quiet when nothing waits for it at the server. */
const QUIET_MS = 60_000

/** Before the account is paired: ten chats on its phone, which shares them with whoever is linked. */
export async function writeHistory({ simulator, mix, phones }: World, account: string): Promise<void> {
  if (mix === 'text') return
  for (const to of phones.slice(0, CHATS)) {
    await simulator.admin('POST', '/admin/history', { account, to, count: TEXTS_PER_CHAT })
  }
}

/** After it was paired: pictures and documents come in from persons and in its groups. */
export async function writeFilesTo(
  { simulator }: World,
  account: string,
  { phones, groups }: Recipients,
): Promise<void> {
  const files = await createFiles()
  for (const [n, group] of [undefined, undefined, ...groups].entries()) {
    const type = n === 0 ? 'document' : 'image'
    const { bytes, mimeType, filename } = files(type, `to-${account}-${n}`)
    const media = { type, mimeType, filename, base64: bytes.toString('base64'), caption: `past #${n + 1}` }
    const place = group ? { group: group.replace('@g.us', '') } : { to: account }
    await simulator.admin('POST', `/admin/contacts/${phones[n]}/send`, { ...place, media })
  }
}

interface Account {
  readonly companions: readonly { readonly queued: number }[]
}

/** Resolves when the client has confirmed all that the server had for it. */
export async function untilQuiet({ simulator }: World, account: string): Promise<void> {
  await eventually(
    async () => {
      const { companions } = await simulator.admin<Account>('GET', `/admin/accounts/${account}`)
      return companions.every(({ queued }) => queued === 0)
    },
    `nothing waits for ${account}`,
    QUIET_MS,
  )
}
