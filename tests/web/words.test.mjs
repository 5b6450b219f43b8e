/** The words of our elements of the page: what `say` returns, and that all of them come from it. */

import { readFileSync, readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { afterEach, describe, expect, it, test } from "vitest"
import { ENGLISH, say, setLanguage, setTranslations } from "../../web/js/shared/words.mjs"

const LOCALES = fileURLToPath(new URL("../../locales", import.meta.url))
const LANGUAGES = readdirSync(LOCALES)
const ofPacks = Object.fromEntries(
  LANGUAGES.map((language) => [language, JSON.parse(readFileSync(`${LOCALES}/${language}/main.json`, "utf8"))]),
)

describe("say", () => {
  afterEach(() => {
    setLanguage("en")
    setTranslations({})
  })

  it("speaks English before there are texts, and where there are none of a language", () => {
    setLanguage("ja")
    expect(say("viewer.play")).toBe("Play (Space)")
    setTranslations(ofPacks)
    expect(say("viewer.play")).toBe(ofPacks.ja.spatialdreamer.viewer.play)
    setLanguage("ko")
    expect(say("viewer.play")).toBe("Play (Space)")
    setTranslations(/** @type {any} */ (null)) // of a page that has no texts of packs
    expect(say("viewer.play")).toBe("Play (Space)")
  })

  it("speaks English where a text is missing, or is no text", () => {
    setLanguage("ja")
    setTranslations({ ja: { spatialdreamer: { viewer: { play: "再生", pause: { of: "a later version" } } } } })
    expect(say("viewer.play")).toBe("再生")
    expect(say("viewer.pause")).toBe("Pause (Space)")
    expect(say("preview.title")).toBe("Live preview")
  })

  it("fills values in as they are, in the order of the language", () => {
    expect(say("viewer.frame_of", { frame: 3, frames: 10 })).toBe("frame 3 of 10")
    expect(say("viewer.gone", { name: "$& %name%.mp4" })).toMatch(/^\$& %name%\.mp4 is gone/)
    expect(say("comfort.over_front", { limit: "2.5" })).toBe("over 2.5 % in front")
    setTranslations({ xx: { spatialdreamer: { viewer: { frame_of: "%frames% / %frame%" } } } })
    setLanguage("xx")
    expect(say("viewer.frame_of", { frame: 3, frames: 10 })).toBe("10 / 3")
  })
})

const SCRIPTS = fileURLToPath(new URL("../../web/js", import.meta.url))
const sources = readdirSync(SCRIPTS, { recursive: true })
  .map(String)
  .filter((name) => /\.m?js$/.test(name) && !name.endsWith("words.mjs"))
  .map((name) => {
    const file = ts.createSourceFile(name, readFileSync(`${SCRIPTS}/${name}`, "utf8"), ts.ScriptTarget.ES2022, true)
    return /** @type {const} */ ([name, file])
  })

/**
 * Call a function with each part of a script.
 * @param {ts.Node} node
 * @param {(node: ts.Node) => void} visit
 */
function walk(node, visit) {
  visit(node)
  ts.forEachChild(node, (child) => walk(child, visit))
}

const SHOWN = new Set(["alt", "ariaLabel", "hint", "label", "placeholder", "text", "textContent", "title"])
const SHOWN_ATTRIBUTES = /^(aria-(label|valuetext|description)|alt|placeholder|title)$/
const TAKES_NODES = ["append", "prepend", "replaceChildren", "before", "after"]

/** @type {Map<string, number[]>} */
const makers = new Map() // functions of ours that take words, and which of their arguments these are
for (const [, file] of sources)
  walk(file, (node) => {
    if (!ts.isFunctionLike(node)) return
    const named = /** @type {any} */ (node).name ?? /** @type {any} */ (node.parent).name
    const places = node.parameters.flatMap(({ name }, place) => (SHOWN.has(name.getText()) ? [place] : []))
    if (named && places.length) makers.set(named.getText(), places)
  })

/**
 * List what a part of a script shows to people.
 * @param {ts.Node} node
 * @returns {readonly ts.Node[]}
 */
function shownBy(node) {
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken)
    return ts.isPropertyAccessExpression(node.left) && SHOWN.has(node.left.name.text) ? [node.right] : []
  if (ts.isPropertyAssignment(node)) return SHOWN.has(node.name.getText()) ? [node.initializer] : []
  if (ts.isThrowStatement(node)) return [node.expression] // viewer and preview show what was wrong
  if (ts.isNewExpression(node) && node.expression.getText() === "Option") return node.arguments?.slice(0, 1) ?? []
  if (!ts.isCallExpression(node) || node.expression.getText() === "say") return []
  const called = ts.isPropertyAccessExpression(node.expression) ? node.expression.name.text : node.expression.getText()
  if (called === "setAttribute")
    return SHOWN_ATTRIBUTES.test(/** @type {any} */ (node.arguments[0]).text) ? [node.arguments[1]] : []
  if (TAKES_NODES.includes(called)) return node.arguments
  return (makers.get(called) ?? []).flatMap((place) => node.arguments[place] ?? [])
}

/**
 * List the words that stand in an expression itself: not what `say` returns, what is made by calls, and what is compared.
 * @param {ts.Node} node
 * @returns {string[]}
 */
function wordsIn(node) {
  if (ts.isCallExpression(node) || ts.isFunctionLike(node)) return []
  if (ts.isConditionalExpression(node)) return [node.whenTrue, node.whenFalse].flatMap(wordsIn)
  const isText = ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node)
  const text = isText ? node.text : ""
  const inside = /** @type {string[]} */ ([])
  ts.forEachChild(node, (child) => void inside.push(...wordsIn(child)))
  return [...(/\p{L}{2}/u.test(text) ? [text] : []), ...inside]
}

test("no script writes what people read by itself", () => {
  const written = /** @type {string[]} */ ([])
  let parts = 0
  for (const [name, file] of sources)
    walk(file, (node) => {
      for (const shown of shownBy(node)) {
        parts += 1
        const words = ts.isNewExpression(shown) ? (shown.arguments ?? []).flatMap(wordsIn) : wordsIn(shown)
        written.push(...words.map((text) => `${name}: ${text}`))
      }
    })
  expect(parts).toBeGreaterThan(50)
  expect(written).toEqual([])
})

test("every text is said somewhere", () => {
  const said = new Set()
  for (const [, file] of sources)
    walk(file, (node) => {
      if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node)) said.add(node.text)
    })
  const keys = Object.entries(ENGLISH).flatMap(([part, texts]) => Object.keys(texts).map((name) => [part, name]))
  expect(keys.filter(([part, name]) => !said.has(`${part}.${name}`) && !said.has(`${part}.`)).map(String)).toEqual([])
})
