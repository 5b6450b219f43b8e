/** The geometry of Enter VR, checked by hand. */

import { describe, expect, test } from "vitest"
import { DISTANCE, RADIUS, flatScreen, halfSphere, screenSize, withinPixels } from "../../../web/js/vr/screen.mjs"

const LEFT = { x: 0, y: 0, width: 0.5, height: 1 }
const RIGHT = { x: 0.5, y: 0, width: 0.5, height: 1 }
const BELOW = { x: 0, y: 0.5, width: 1, height: 0.5 }

/** Return the corners of a mesh, as [x, y, z, u, v]. */
const corners = ({ positions, places }) =>
  Array.from({ length: places.length / 2 }, (_, i) => [
    ...positions.slice(3 * i, 3 * i + 3),
    ...places.slice(2 * i, 2 * i + 2),
  ])

describe("a flat screen", () => {
  test.each([
    [16 / 9, 2.4, 1.35],
    [4, 2.4, 0.6],
    [1.5, 2.4, 1.6],
    [1, 1.6, 1.6],
    [9 / 16, 0.9, 1.6],
  ])("of aspect %f is %f m wide and %f m high", (aspect, width, height) => {
    const size = screenSize(aspect)
    expect(size.width).toBeCloseTo(width)
    expect(size.height).toBeCloseTo(height)
  })

  test.each([0.01, 0.5, 1, 2.39, 50])("of aspect %f keeps it and fits into the view", (aspect) => {
    const { width, height } = screenSize(aspect)
    expect(width / height).toBeCloseTo(aspect)
    expect(Math.atan(width / 2 / DISTANCE)).toBeLessThan(Math.PI / 5)
    expect(Math.atan(height / 2 / DISTANCE)).toBeLessThan(Math.PI / 5)
  })

  test("shows the right half of a picture, upright, in front of the viewer", () => {
    expect(corners(flatScreen(1, RIGHT))).toEqual([
      [-0.8, 0.8, -2, 0.5, 1],
      [0.8, 0.8, -2, 1, 1],
      [-0.8, -0.8, -2, 0.5, 0],
      [0.8, -0.8, -2, 1, 0],
    ])
  })

  test("shows the lower half of a picture", () => {
    const places = corners(flatScreen(2, BELOW)).map((corner) => corner.slice(3))
    expect(places).toEqual([
      [0, 0.5],
      [1, 0.5],
      [0, 0],
      [1, 0],
    ])
  })

  test("is covered by two triangles", () => {
    expect(flatScreen(1, LEFT).triangles).toEqual([0, 2, 1, 1, 2, 3])
  })
})

describe("a half sphere", () => {
  const mesh = halfSphere(RIGHT)

  test("has each corner at its radius, in front of the viewer", () => {
    for (const [x, y, z] of corners(mesh)) {
      expect(Math.hypot(x, y, z)).toBeCloseTo(RADIUS)
      expect(z).toBeLessThan(1e-9)
    }
  })

  test("shows at each direction the picture's pixel of that azimuth and elevation", () => {
    for (const [x, y, z, u, v] of corners(mesh)) {
      if (Math.abs(y) > 0.999 * RADIUS) continue // the poles have no azimuth
      expect((u - RIGHT.x) / RIGHT.width).toBeCloseTo(Math.atan2(x, -z) / Math.PI + 0.5)
      expect(v).toBeCloseTo(Math.asin(y / RADIUS) / Math.PI + 0.5)
    }
  })

  test("covers 180 by 180 degrees without a gap", () => {
    const count = Math.sqrt(mesh.places.length / 2)
    expect(mesh.triangles.length).toBe(6 * (count - 1) ** 2)
    expect(new Set(mesh.triangles).size).toBe(count * count)
  })
})

test("half a pixel is left out around a view", () => {
  expect(withinPixels(RIGHT, 100, 50)).toEqual({ x: 0.505, y: 0.01, width: 0.49, height: 0.98 })
})
