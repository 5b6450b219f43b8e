/**
 * Copies three.js, minified, from node_modules (the version that package.json pins) into web/vendor/three, which ships with
 * the pack. The files are npm's but for the name by which one imports the other: ComfyUI's page imports every `*.js` under
 * web/ when it starts, so ours end in `.mjs`. Run it after a change of the version: `node scripts/vendor_three.mjs`.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const NPM = new URL("../node_modules/three/", import.meta.url)
export const VENDOR = new URL("../web/vendor/three/", import.meta.url)

/**
 * The files to ship: name → content.
 * @returns {Record<string, string>}
 */
export function vendorFiles() {
  const read = (/** @type {string} */ path) => readFileSync(new URL(path, NPM), "utf8")
  const { version } = JSON.parse(read("package.json"))
  return {
    "three.module.min.mjs": read("build/three.module.min.js").replaceAll('"./three.core.min.js"', '"./three.core.min.mjs"'),
    "three.core.min.mjs": read("build/three.core.min.js"),
    "three.module.min.d.mts": 'export * from "three"\n',
    LICENSE: read("LICENSE"),
    VERSION: `three ${version} from npm\n`,
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(VENDOR, { recursive: true })
  for (const [name, content] of Object.entries(vendorFiles())) writeFileSync(new URL(name, VENDOR), content)
}
