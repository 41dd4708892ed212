/** Where the media lie, and how that is doing: a directory or a bucket, by STORAGE_URL. */
import { join } from 'node:path'
import type { Clock } from '../kernel/clock.js'
import type { Dependency } from '../kernel/dependency.js'
import type { Random } from '../kernel/random.js'
import { createDirectoryDependency } from '../platform/media/directory-dependency.js'
import { createDirectoryStorage } from '../platform/media/fs.js'
import type { MediaStorage } from '../platform/media/media.js'
import { createS3Storage } from '../platform/media/s3.js'
import { createS3Client } from '../platform/media/s3-client.js'
import { createS3Dependency } from '../platform/media/s3-dependency.js'
import type { Config } from './config.js'

export function composeStorage(
  config: Config,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): { readonly storage: MediaStorage; readonly dependency: Dependency } {
  const { storage: place, s3AccessKeyId: accessKeyId = '', s3SecretAccessKey: secretAccessKey = '' } = config
  if (place.kind === 'directory') {
    const root = place.path ?? join(config.dataDirectory, 'media')
    return { storage: createDirectoryStorage(root), dependency: createDirectoryDependency({ root, clock }) }
  }
  const client = createS3Client({ place, accessKeyId, secretAccessKey, clock, random })
  return { storage: createS3Storage({ client, clock }), dependency: createS3Dependency({ client, clock }) }
}
