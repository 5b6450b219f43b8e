import { describe, expect, test } from "vitest"
import { eyesOf } from "../../../web/js/viewer/layouts.js"

/** @param {string} format @param {boolean} [swap] */
const eyes = (format, swap = false) => eyesOf({ format, swap, aspect: 16 / 9 })

describe("where the eyes' views lie", () => {
  test("side by side, at full or half width, and on half spheres", () => {
    for (const format of ["full_sbs", "half_sbs", "vr180"])
      expect(eyes(format)).toEqual({
        left: { x: 0, y: 0, width: 0.5, height: 1 },
        right: { x: 0.5, y: 0, width: 0.5, height: 1 },
      })
  })

  test("one above the other", () => {
    for (const format of ["full_tb", "half_tb"])
      expect(eyes(format)).toEqual({
        left: { x: 0, y: 0, width: 1, height: 0.5 },
        right: { x: 0, y: 0.5, width: 1, height: 0.5 },
      })
  })

  test("crossed and swapped eyes are undone, and both together are none", () => {
    expect(eyes("cross_eyed")).toEqual({ left: eyes("full_sbs")?.right, right: eyes("full_sbs")?.left })
    expect(eyes("half_tb", true)).toEqual({ left: eyes("half_tb")?.right, right: eyes("half_tb")?.left })
    expect(eyes("cross_eyed", true)).toEqual(eyes("full_sbs"))
  })

  test("what cannot be split, or is not known, has none", () => {
    const whole = ["anaglyph", "row_interlaced", "column_interlaced", "checkerboard", "frame_sequential", "rgbd"]
    for (const format of [...whole, "quilt", "wiggle", "new_in_a_later_version", "toString"])
      expect(eyes(format)).toBeNull()
  })
})
