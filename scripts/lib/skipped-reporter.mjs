/** Names what did not run, so that green is not taken for more than it is. With CI=true a skipped test is a failure. */
export default class SkippedReporter {
  onInit(vitest) {
    // Whoever asks for some tests by name skips the others on purpose.
    this.isFiltered = vitest.config.testNamePattern !== undefined
  }

  onTestRunEnd(modules) {
    if (this.isFiltered) return
    const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')].map((test) => skippedBy(test)))
    if (skipped.length === 0) return
    const counts = groupBy(skipped)
    console.log(`\nSkipped (${skipped.length}):`)
    for (const [name, tests] of counts) console.log(`  ${name}${tests.length > 1 ? ` × ${tests.length}` : ''}`)
    if (process.env.CI !== 'true') return
    console.log('CI=true: a skipped test is a failure')
    process.exitCode = 1
  }
}

/** The outermost suite that was skipped carries the reason; else the test's own note or name. */
function skippedBy(test) {
  const note = test.result().note
  let named = test.fullName
  for (let parent = test.parent; parent && parent.type === 'suite'; parent = parent.parent) {
    if (parent.options.mode === 'skip') named = parent.fullName
  }
  return note ? `${named} (${note})` : named
}

function groupBy(names) {
  const groups = new Map()
  for (const name of names) groups.set(name, [...(groups.get(name) ?? []), name])
  return groups
}
