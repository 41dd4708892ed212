/** Why a call to somebody else's server did not end with an answer. Expected: data for the caller, not an alert. */
export type EgressFailure =
  /** Not a URL that may be called, whatever it resolves to. */
  | 'refused_url'
  /** It leads to an address, port or scheme that may not be called. */
  | 'refused_address'
  | 'dns'
  | 'connect'
  | 'tls'
  | 'timeout'
  /** The caller's signal was aborted. */
  | 'aborted'
  /** The answer's headers exceed the limit. */
  | 'too_large'
  /** The server broke the connection or does not speak HTTP. */
  | 'protocol'

const sentences: Readonly<Record<EgressFailure, string>> = {
  refused_url: 'The URL must be http or https, with a host and without a user name.',
  refused_address: 'The URL leads to an address that may not be called.',
  dns: 'The host name does not resolve.',
  connect: 'The server cannot be reached.',
  tls: 'The server has no valid certificate.',
  timeout: 'The server did not answer in time.',
  aborted: 'The call was given up.',
  too_large: 'The headers of the answer are too large.',
  protocol: 'The server broke off, or does not speak HTTP.',
}

/** Its text names neither an address nor anything that the other side said: both may be secrets of a network. */
export class EgressError extends Error {
  readonly code: EgressFailure

  constructor(code: EgressFailure, options: { readonly cause?: unknown } = {}) {
    super(sentences[code], options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'EgressError'
    this.code = code
  }
}
