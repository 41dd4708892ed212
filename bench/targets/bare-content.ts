/** The messages of a mix as bare Baileys is given them. */
import type { AnyMessageContent } from 'baileys'
import type { Files } from '../lib/files.js'
import type { Item } from '../lib/mix.js'

/** Loaded when the first file is sent: where there are none it would only weigh. */
let files: Promise<Files> | undefined

export const bareJid = ({ to }: Item): string => (to.includes('@') ? to : `${to}@s.whatsapp.net`)

export async function bareContent({ content, words, key }: Item): Promise<AnyMessageContent> {
  if (content === 'text') return { text: words }
  files ??= import('../lib/files.js').then(({ createFiles }) => createFiles())
  const { bytes, mimeType, filename } = (await files)(content, key)
  if (content === 'image') return { image: bytes, mimetype: mimeType, caption: words }
  return { document: bytes, mimetype: mimeType, fileName: filename, caption: words }
}
