// @ts-check
/** The bar under a preview: how far the frame reaches behind the screen and in front of it, and how far is comfortable. */

import { say } from "../shared/words.mjs"

const LEAST_SCALE = 4 // % of the width, to either side of the screen
const SPARE = 1.15

/**
 * Where the parts of the bar lie, in % of its length from the left, which is behind the screen.
 * @typedef {object} Bar
 * @property {[number, number]} comfortable
 * @property {[number, number]} range
 * @property {boolean} isComfortable
 * @property {string} text
 */

/**
 * Lay out the bar.
 * @param {{farthest: number, nearest: number}} comfort % of the width, above 0 in front of the screen
 * @param {{crossed: number, uncrossed: number}} limits % of the width
 * @returns {Bar}
 */
export function layOutBar({ farthest, nearest }, { crossed, uncrossed }) {
  const scale = SPARE * Math.max(LEAST_SCALE, crossed, uncrossed, Math.abs(farthest), Math.abs(nearest))
  const place = (/** @type {number} */ percent) => 50 + (50 * percent) / scale
  const front = nearest > crossed + 0.05 ? say("comfort.over_front", { limit: round(crossed) }) : ""
  const behind = farthest < -uncrossed - 0.05 ? say("comfort.over_behind", { limit: round(uncrossed) }) : ""
  const over = front && behind ? say("comfort.over_both", { front, behind }) : front || behind
  const now = say("comfort.now", { nearest: placeOf(nearest), farthest: placeOf(farthest) })
  return {
    comfortable: [place(-uncrossed), place(crossed)],
    range: [place(farthest), place(nearest)],
    isComfortable: !over,
    text: over ? say("comfort.too_much", { now, over }) : now,
  }
}

/** @param {number} percent */
function placeOf(percent) {
  return say(percent > 0 ? "comfort.place_front" : "comfort.place_behind", { percent: round(Math.abs(percent)) })
}

/** @param {number} x */
function round(x) {
  return x.toFixed(1)
}

/** The bar as elements of the page. */
export class ComfortBar {
  constructor() {
    this.root = make("div", { display: "flex", flexDirection: "column", gap: "2px" })
    this.track = make("div", {
      position: "relative",
      height: "12px",
      borderRadius: "3px",
      background: "var(--comfy-input-bg)",
      border: "1px solid var(--border-color)",
      overflow: "hidden",
    })
    this.track.setAttribute("role", "img")
    this.zone = this.part({ background: "var(--input-text)", opacity: "0.15" })
    this.range = this.part({ top: "3px", bottom: "3px", borderRadius: "2px" })
    this.screen = this.part({ left: "50%", width: "1px", background: "var(--input-text)" })
    const ends = make("div", { display: "flex", justifyContent: "space-between", opacity: "0.7" })
    for (const end of /** @type {const} */ (["behind", "screen", "front"]))
      ends.append(make("span", {}, say(`comfort.${end}`)))
    this.text = make("div", {})
    this.root.append(this.track, ends, this.text)
  }

  /**
   * Show a bar.
   * @param {Bar} bar
   */
  show(bar) {
    stretch(this.zone, bar.comfortable)
    stretch(this.range, bar.range)
    this.range.style.background = bar.isComfortable ? "#3fa34d" : "var(--error-text, #ff4444)"
    this.text.textContent = bar.text
    this.text.style.color = bar.isComfortable ? "" : "var(--error-text, #ff4444)"
    this.track.setAttribute("aria-label", bar.text)
  }

  /** @param {Record<string, string>} style */
  part(style) {
    const part = make("div", { position: "absolute", top: "0", bottom: "0", ...style })
    this.track.append(part)
    return part
  }
}

/**
 * @param {HTMLElement} part
 * @param {[number, number]} place
 */
function stretch(part, [left, right]) {
  part.style.left = `${left}%`
  part.style.width = `${Math.max(right - left, 0.5)}%`
}

/**
 * @param {string} tag
 * @param {Record<string, string>} style
 * @param {string} text
 */
function make(tag, style, text = "") {
  const element = document.createElement(tag)
  Object.assign(element.style, style)
  element.textContent = text
  return element
}
