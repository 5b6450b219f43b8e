// @ts-check
/** The elements of the live preview, in the page's colours. */

import { say } from "../shared/words.mjs"
import { ComfortBar } from "./comfort_bar.mjs"

/** @typedef {"right" | "left" | "anaglyph" | "wiggle" | "sbs"} View */
/** @typedef {{mode?: View, holes?: boolean, closed?: boolean}} Choices */

/** @type {readonly View[]} */
const VIEWS = ["right", "left", "anaglyph", "wiggle", "sbs"]
/** The colour of holes, in [0, 1]. @type {[number, number, number]} */
export const TINT = [1, 0, 1]

/**
 * Return how the frame is to be seen.
 * @param {Choices} kept
 * @returns {View}
 */
export function modeOf(kept) {
  return VIEWS.find((view) => view === kept.mode) ?? "right"
}

/**
 * Return whether holes are tinted; where both eyes see the picture at once a colour in one of them would hurt.
 * @param {Choices} kept
 */
export function tintsHoles(kept) {
  return canTint(kept) && (kept.holes ?? true)
}

/** @param {Choices} kept */
function canTint(kept) {
  return !["anaglyph", "wiggle"].includes(modeOf(kept))
}

/**
 * Make the elements.
 * @param {Choices} kept what the user has chosen before, and chooses by them
 */
export function makeElements(kept) {
  const root = column()
  Object.assign(root.style, { display: "none", font: "12px sans-serif", color: "var(--input-text)" })
  const view = column()
  const canvas = document.createElement("canvas")
  canvas.setAttribute("role", "img")
  Object.assign(canvas.style, { width: "100%", height: "auto", display: "block", borderRadius: "4px" })
  const bar = new ComfortBar()
  const words = document.createElement("div")
  Object.assign(words.style, { whiteSpace: "pre-line", overflowWrap: "anywhere", opacity: "0.8" })
  const controls = document.createElement("div")
  Object.assign(controls.style, { display: "flex", flexWrap: "wrap", gap: "4px", alignItems: "center" })
  const { label, box } = makeHoles(kept)
  const onView = () => {
    box.disabled = !canTint(kept)
  }
  onView()
  controls.append(makeViews(kept, onView), label)
  view.append(controls, canvas, bar.root)
  const body = column()
  body.append(view, words)
  root.append(makeHeader(kept, body), body)
  return { root, view, canvas, bar, words }
}

/**
 * Make the line that opens and closes the preview.
 * @param {Choices} kept
 * @param {HTMLElement} body
 */
function makeHeader(kept, body) {
  const header = makeButton("", say("preview.toggle"))
  Object.assign(header.style, { border: "none", background: "none", textAlign: "left", padding: "2px 0" })
  const show = () => {
    header.textContent = `${kept.closed ? "▸" : "▾"} ${say("preview.title")}`
    header.setAttribute("aria-expanded", String(!kept.closed))
    body.style.display = kept.closed ? "none" : "flex"
  }
  header.addEventListener("click", () => {
    kept.closed = !kept.closed
    show()
  })
  show()
  return header
}

/**
 * Make the buttons of the views.
 * @param {Choices} kept
 * @param {() => void} onView called when another one is chosen
 */
function makeViews(kept, onView) {
  const group = document.createElement("div")
  Object.assign(group.style, { display: "flex", flexWrap: "wrap", gap: "4px" })
  group.setAttribute("role", "group")
  group.setAttribute("aria-label", say("preview.views"))
  const mark = () => {
    VIEWS.forEach((view, index) => {
      const button = /** @type {HTMLElement} */ (group.children[index])
      const chosen = view === modeOf(kept)
      button.setAttribute("aria-pressed", String(chosen))
      button.style.color = chosen ? "var(--comfy-input-bg)" : "var(--input-text)"
      button.style.background = chosen ? "var(--input-text)" : "var(--comfy-input-bg)"
    })
  }
  for (const view of VIEWS) {
    const button = makeButton(say(`view.${view}`), say(`view_hint.${view}`))
    button.addEventListener("click", () => {
      kept.mode = view
      mark()
      onView()
    })
    group.append(button)
  }
  mark()
  return group
}

/**
 * Make the box that tints holes.
 * @param {Choices} kept
 */
function makeHoles(kept) {
  const label = document.createElement("label")
  Object.assign(label.style, { display: "flex", gap: "4px", alignItems: "center", marginLeft: "auto" })
  label.title = say("preview.holes_hint")
  const box = document.createElement("input")
  box.type = "checkbox"
  box.checked = kept.holes ?? true
  box.addEventListener("change", () => {
    kept.holes = box.checked
  })
  const swatch = document.createElement("span")
  Object.assign(swatch.style, { width: "10px", height: "10px", background: `rgb(${TINT.map((x) => 255 * x)})`, borderRadius: "2px" })
  label.append(box, swatch, say("preview.holes"))
  return { label, box }
}

/**
 * Make a button.
 * @param {string} label
 * @param {string} title
 * @returns {HTMLButtonElement}
 */
export function makeButton(label, title) {
  const button = document.createElement("button")
  button.type = "button"
  button.textContent = label
  button.title = title
  colour(button)
  button.style.cursor = "pointer"
  return button
}

/**
 * Give a control the page's colours.
 * @param {HTMLElement} control
 */
export function colour(control) {
  Object.assign(control.style, {
    ...{ padding: "2px 6px", font: "inherit", borderRadius: "4px" },
    ...{ color: "var(--input-text)", background: "var(--comfy-input-bg)", border: "1px solid var(--border-color)" },
  })
}

/** Make a column of elements. */
function column() {
  const element = document.createElement("div")
  Object.assign(element.style, { display: "flex", flexDirection: "column", gap: "4px" })
  return element
}
