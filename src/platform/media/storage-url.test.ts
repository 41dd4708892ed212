import { describe, expect, it } from 'vitest'
import { parseStorageUrl } from './storage-url.js'

describe('a storage URL', () => {
  it.each([
    ['file:', { kind: 'directory', path: undefined }],
    ['file:///srv/my%20media', { kind: 'directory', path: '/srv/my media' }],
    [
      's3://files',
      {
        ...{ kind: 's3', endpoint: 'https://s3.us-east-1.amazonaws.com', region: 'us-east-1', bucket: 'files' },
        ...{ prefix: '', style: 'host', publicEndpoint: undefined },
      },
    ],
    [
      's3://files/a/b/?region=sa-east-1&endpoint=http://minio:9000&public=https://files.example',
      {
        ...{ kind: 's3', endpoint: 'http://minio:9000', region: 'sa-east-1', bucket: 'files', prefix: 'a/b/' },
        ...{ style: 'path', publicEndpoint: 'https://files.example' },
      },
    ],
    [
      's3://files?endpoint=https://s3.example&style=host',
      {
        ...{ kind: 's3', endpoint: 'https://s3.example', region: 'us-east-1', bucket: 'files', prefix: '' },
        ...{ style: 'host', publicEndpoint: undefined },
      },
    ],
  ])('%s names its place', (url, place) => {
    expect(parseStorageUrl(url)).toEqual(place)
  })

  it.each([
    ['/srv/media', /must be `file:`/],
    ['http://bucket', /must be `file:`/],
    ['file://server/share', /must be `file:`/],
    ['s3://', /must be|names no bucket/],
    ['s3://UPPER_case', /names no bucket/],
    ['s3://key:secret@files', /must hold no secret/],
    ['s3://files?reigon=sa-east-1', /knows endpoint, region, style, public, and not reigon/],
    ['s3://files/..%2f', /prefix/],
    ['s3://files?region=', /names no region/],
    ['s3://files?endpoint=minio:9000', /endpoints such as/],
    ['s3://files?endpoint=https://minio/files', /endpoints such as/],
    ['s3://files?style=virtual', /styles/],
  ])('%s is refused', (url, problem) => {
    expect(parseStorageUrl(url)).toEqual({ problem: expect.stringMatching(problem) })
  })
})
