/** Makes a `switch` over a closed union exhaustive: a missed member is a compile error, a foreign value throws. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`)
}
