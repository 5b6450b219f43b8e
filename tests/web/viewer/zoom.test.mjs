import { expect, test } from "vitest"
import { ALL, factorOf, pan, zoom } from "../../../web/js/viewer/zoom.js"

test("what lies under the pointer stays there", () => {
  const place = { x: 0.25, y: 0.75 }
  const shown = zoom(ALL, 4, place)
  expect(factorOf(shown)).toBe(4)
  expect(shown.x + place.x * shown.width).toBeCloseTo(place.x)
  expect(shown.y + place.y * shown.height).toBeCloseTo(place.y)
})

test("zooming out again shows all of the picture, and no more", () => {
  expect(zoom(zoom(ALL, 8, { x: 1, y: 1 }), 1 / 100)).toEqual(ALL)
  expect(factorOf(zoom(ALL, 1e6))).toBe(32)
})

test("a drag moves the picture with the hand, to its edges", () => {
  const shown = zoom(ALL, 2) // from .25 to .75
  expect(pan(shown, 0.25, 0).x).toBeCloseTo(0.125)
  expect(pan(shown, 10, -10)).toMatchObject({ x: 0, y: 0.5 })
  expect(pan(ALL, 0.3, 0.3)).toEqual(ALL)
})
