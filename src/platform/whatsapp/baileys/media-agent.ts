/** Connections to a media host with a certificate of its own: the simulator's, or that of a proxy. */
import { Agent } from 'node:https'
import { createSecureContext, rootCertificates } from 'node:tls'

/**
 * Trusts this authority besides those that Node trusts. Like Node's own agent it keeps connections for the next file; and it
 * reads the certificates once: an agent that is given `ca` reads them all, a hundred and more, for each connection.
 *
 * @param caPem an authority's certificate, in PEM.
 */
export function createMediaAgent(caPem: string): Agent {
  return new Agent({ keepAlive: true, secureContext: createSecureContext({ ca: [...rootCertificates, caPem] }) })
}
