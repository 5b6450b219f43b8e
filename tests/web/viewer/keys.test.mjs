import { expect, test } from "vitest"
import { actionOf } from "../../../web/js/viewer/keys.js"

/** @param {string} key @param {object} [held] */
const press = (key, held = {}) =>
  actionOf({ key, shiftKey: false, ctrlKey: false, altKey: false, metaKey: false, ...held })

test("keys do what players' keys do", () => {
  expect(press(" ")).toEqual({ kind: "play" })
  expect(press("ArrowRight")).toEqual({ kind: "step", by: 1 })
  expect(press("ArrowRight", { shiftKey: true })).toEqual({ kind: "seek", by: 5 })
  expect(press("4")).toEqual({ kind: "mode", mode: "anaglyph" })
  expect(press("F")).toEqual({ kind: "fullscreen" })
  expect(press("?", { shiftKey: true })).toEqual({ kind: "help" })
  expect(press("+", { shiftKey: true })).toEqual({ kind: "zoom", by: 1 })
})

test("all others are the page's: Delete, Tab, Escape, and whatever is held with Ctrl", () => {
  for (const key of ["Delete", "Tab", "Escape", "Enter", "q", "9", "constructor"]) expect(press(key)).toBeNull()
  for (const held of [{ ctrlKey: true }, { metaKey: true }, { altKey: true }]) expect(press("m", held)).toBeNull()
})
