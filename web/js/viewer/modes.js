// @ts-check
/** The ways in which the viewer shows two views, and the shape that each gives the picture. */

import { eyesOf } from "./layouts.js"

/** @typedef {import("./layouts.js").Layout} Layout */
/** @typedef {"sbs" | "left" | "right" | "anaglyph" | "interlaced" | "wiggle" | "difference" | "whole"} Mode */

/**
 * In the order of their keys, 1 to 8.
 * @type {readonly Mode[]}
 */
export const MODES = ["sbs", "left", "right", "anaglyph", "interlaced", "wiggle", "difference", "whole"]

/** @type {Mode} */
export const FIRST_MODE = "sbs"

/**
 * List the modes in which a layout can be shown.
 * @param {Layout} layout
 * @returns {Mode[]}
 */
export function modesOf(layout) {
  return eyesOf(layout) ? [...MODES] : ["whole"]
}

/**
 * Return the mode that is wanted where the layout allows it, else the one that it does.
 * @param {unknown} wanted
 * @param {Layout} layout
 * @returns {Mode}
 */
export function modeFor(wanted, layout) {
  const modes = modesOf(layout)
  return modes.find((mode) => mode === wanted) ?? modes[0]
}

/**
 * Return width over height of what a mode shows.
 * @param {Layout} layout
 * @param {Mode} mode
 */
export function shownAspect(layout, mode) {
  const eyes = eyesOf(layout)
  if (mode === "sbs" && eyes) return 2 * layout.aspect
  if (mode === "whole" && eyes) return (layout.aspect * eyes.left.height) / eyes.left.width
  return layout.aspect
}
