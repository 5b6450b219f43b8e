import { expect, test } from "vitest"
import { MODES, modeFor, modesOf, shownAspect } from "../../../web/js/viewer/modes.js"

/** @param {string} format */
const layout = (format) => ({ format, swap: false, aspect: 2 })

test("two views can be shown in every mode, anything else as it is", () => {
  expect(modesOf(layout("half_tb"))).toEqual(MODES)
  expect(modesOf(layout("anaglyph"))).toEqual(["whole"])
})

test("a mode that was remembered gives way where the layout does not allow it", () => {
  expect(modeFor("wiggle", layout("full_sbs"))).toBe("wiggle")
  expect(modeFor("wiggle", layout("checkerboard"))).toBe("whole")
  expect(modeFor("of a later version", layout("full_sbs"))).toBe("sbs")
  expect(modeFor(undefined, layout("full_sbs"))).toBe("sbs")
})

test("the picture has the shape of what is shown, whatever the file's pixels are", () => {
  for (const format of ["full_sbs", "half_sbs", "full_tb", "half_tb"]) {
    expect(shownAspect(layout(format), "left")).toBe(2)
    expect(shownAspect(layout(format), "sbs")).toBe(4)
  }
  expect(shownAspect(layout("full_sbs"), "whole")).toBe(4)
  expect(shownAspect(layout("full_tb"), "whole")).toBe(1)
  expect(shownAspect(layout("anaglyph"), "whole")).toBe(2)
})
