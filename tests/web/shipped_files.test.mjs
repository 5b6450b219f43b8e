/** What ships under web/: three.js as npm has it, and nothing that ComfyUI's page would load at start in vain. */

import { readFileSync, readdirSync } from "node:fs"
import { fileURLToPath, pathToFileURL } from "node:url"
import { expect, test } from "vitest"
import { VENDOR, vendorFiles } from "../../scripts/vendor_three.mjs"

const WEB = fileURLToPath(new URL("../../web", import.meta.url))
const files = readdirSync(WEB, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`.replaceAll("\\", "/"))
const scripts = files.filter((file) => /\/web\/js\/.*\.m?js$/.test(file))
const read = (/** @type {string} */ file) => readFileSync(file, "utf8")

test("the vendored three.js equals npm's of the pinned version", () => {
  for (const [name, content] of Object.entries(vendorFiles())) {
    expect(read(fileURLToPath(new URL(name, VENDOR))) === content, name).toBe(true)
  }
})

test("the page loads none of the vendored files at start", () => {
  expect(files.filter((file) => file.includes("/vendor/")).filter((file) => file.endsWith(".js"))).toEqual([])
})

test("three.js is imported only when it is used", () => {
  const imported = /^(?:import|export)\b[^"']*["'](\.[^"']+)["']/gm
  const loaded = scripts.filter((file) => file.endsWith(".js"))
  expect(loaded.length).toBeGreaterThan(0)
  for (const file of loaded) {
    // the list grows while it is walked: by what each file imports before it runs
    for (const [, path] of read(file).matchAll(imported)) {
      const target = fileURLToPath(new URL(path, pathToFileURL(file)))
      expect(target, file).not.toContain("/vendor/")
      if (files.includes(target) && !loaded.includes(target)) loaded.push(target)
    }
  }
})

test("every script of ours asks for its types to be checked", () => {
  expect(scripts.filter((file) => !read(file).startsWith("// @ts-check\n"))).toEqual([])
})

test("no script of ours makes HTML from text, but for the reader of escaped texts, which is never on the page", () => {
  const making = /\.(?:innerHTML|outerHTML)\s*=|insertAdjacentHTML|document\.write/
  expect(scripts.filter((file) => making.test(read(file))).map((file) => file.split("/").pop())).toEqual(["node_text.js"])
})
