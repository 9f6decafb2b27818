// Runs http-cache-tests against one cache: node run.mjs PACKAGE BASE_URL
// and prints every test that applies to a proxy with its kind, what it depends on and its result, as JSON.
//
// The package's own cli.mjs also runs the tests of Surrogate-Control, a field of no standard; they are left out.

import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [folder, base] = process.argv.slice(2)
const load = path => import(pathToFileURL(path).href)
const { default: suites } = await load(`${folder}/tests/index.mjs`)
const { runTests, getResults } = await load(`${folder}/client/runner.mjs`)
const { default: fetch } = await load(createRequire(`${folder}/cli.mjs`).resolve('node-fetch'))

await runTests(suites, fetch, false, base)

const results = getResults()
const tests = suites.flatMap(suite => suite.tests).filter(test => !test.browser_only)
const outcomes = tests.map(({ id, kind, name, depends_on: dependsOn }) => ({
  id,
  name,
  kind: kind ?? 'required',
  depends_on: dependsOn ?? [],
  passed: results[id] === true,
  problem: Array.isArray(results[id]) ? results[id].join(': ') : null
}))
// Once all is written: connections that are kept alive would keep the process, too.
process.stdout.write(JSON.stringify(outcomes), () => process.exit(0))
