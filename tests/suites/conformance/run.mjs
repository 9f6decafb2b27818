// Runs http-cache-tests against one cache: node run.mjs FOLDER BASE_URL
// and prints every test that applies to a proxy with its kind, what it depends on and its result, as JSON.
//
// FOLDER is the npm package or a checkout of the repository (http-tests/cache-tests), which has another layout.
// The package's own cli.mjs also runs the tests of Surrogate-Control, a field of no standard; they are left out.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [folder, base] = process.argv.slice(2)
const load = path => import(pathToFileURL(path).href)
const isRepository = existsSync(`${folder}/test-engine`)
const engine = isRepository ? `${folder}/test-engine` : folder
const { default: suites } = await load(`${folder}/tests/index.mjs`)
const { runTests, getResults } = await load(`${engine}/client/runner.mjs`)

if (isRepository) {
  // Its tests of interim responses hand an agent of its own undici to fetch: Node's must be of the same version.
  const undici = await load(createRequire(`${engine}/cli.mjs`).resolve('undici'))
  Object.assign(globalThis, { fetch: undici.fetch })
  await runTests(suites, false, base)
} else {
  const { default: fetch } = await load(createRequire(`${folder}/cli.mjs`).resolve('node-fetch'))
  await runTests(suites, fetch, false, base)
}

const results = getResults()
const applies = test => !test.browser_only
const outcomes = suites.flatMap(suite => suite.tests.filter(applies).map(test => ({
  suite: suite.name,
  id: test.id,
  name: test.name,
  kind: test.kind ?? 'required',
  depends_on: test.depends_on ?? [],
  passed: results[test.id] === true,
  problem: Array.isArray(results[test.id]) ? results[test.id].join(': ') : null
})))
// Once all is written: connections that are kept alive would keep the process, too.
process.stdout.write(JSON.stringify(outcomes), () => process.exit(0))
