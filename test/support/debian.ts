/**
 * The Debian packages that a test needs and a fresh machine has not. They are installed without starting what they hold:
 * a test starts its own, on free ports.
 */
import { spawnSync } from 'node:child_process'

/**
 * Returns when all of them are there: those missing are installed by apt-get (root only), one process of
 * ours at a time.
 * @throws saying what to do, where that cannot be done or does not succeed
 */
export function requireDebian(packages: readonly string[]): void {
  const missing = packages.filter((name) => !isInstalled(name))
  if (missing.length === 0) return
  const byHand = `install ${missing.length > 1 ? 'them' : 'it'} with: apt-get install ${missing.join(' ')}`
  if (run('sh', ['-c', 'command -v apt-get dpkg-query flock']).status !== 0) {
    throw new Error(`this needs the Debian packages ${missing.join(', ')}, and this machine has no apt-get`)
  }
  if (process.getuid?.() !== 0)
    throw new Error(`this needs the Debian packages ${missing.join(', ')}; as root, ${byHand}`)
  const { status, output } = run('flock', ['/tmp/mirante-apt.lock', 'sh', '-c', INSTALL, 'sh', ...missing])
  const absent = missing.filter((name) => !isInstalled(name))
  if (status === 0 && absent.length === 0) return
  const why = output.trim().split('\n').slice(-5).join('\n')
  throw new Error(`apt-get did not install ${missing.join(', ')}; ${byHand}. It said:\n${why}`)
}

// Helpers

/** The lists are fetched only where they lack something; policy-rc.d is what keeps a package from starting its service. */
const INSTALL = `
  export DEBIAN_FRONTEND=noninteractive
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > $policy && chmod +x $policy
  fi
  wait="-o DPkg::Lock::Timeout=600"
  apt-get $wait install -y --no-install-recommends "$@" && exit 0
  apt-get $wait update && apt-get $wait install -y --no-install-recommends "$@"
`

const isInstalled = (name: string): boolean =>
  run('dpkg-query', ['--status', name]).output.includes('\nStatus: install ok installed\n')

function run(command: string, args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  return { status, output: `${stdout ?? ''}${stderr ?? ''}` }
}
