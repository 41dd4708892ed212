/** `check-bucket.ts PLACE KEY SECRET`: prints how a bucket is doing, as seen by a process of its own. */
import { systemClock } from '../../../kernel/clock.js'
import { createS3Client } from '../s3-client.js'
import { createS3Dependency } from '../s3-dependency.js'

const [place = '{}', accessKeyId = '', secretAccessKey = ''] = process.argv.slice(2)
const client = createS3Client({
  ...{ place: JSON.parse(place), accessKeyId, secretAccessKey, clock: systemClock, random: Math.random },
})
console.log(JSON.stringify(await createS3Dependency({ client, clock: systemClock }).check()))
