// @ts-check
/**
 * Where in the room each eye's view is drawn, in metres, as triangles: a flat screen in front of the viewer, or half a
 * sphere around him for VR180. The head is at the origin when a session begins, x is to its right, y up, and it looks
 * along -z. Screen and sphere stay where they are when the head moves.
 */

/** @typedef {import("../viewer/layouts.js").Rect} Rect */

/**
 * @typedef {object} Mesh
 * @property {number[]} positions x, y, z of each corner, in metres
 * @property {number[]} places u, v of each corner in the picture; v is 1 at its top, as WebGL has it
 * @property {number[]} triangles three corners each
 */

// As far as a good seat in a cinema: the screen covers 62 degrees from side to side, or 44 from top to bottom.
export const DISTANCE = 2
const WIDEST = 2.4
const HIGHEST = 1.6

// So far that a step to the side is not seen; both eyes' spheres have one centre.
export const RADIUS = 100
const SEGMENTS = 64 // along each side of the half sphere

/**
 * Return the size of the largest screen for a view's shape.
 * @param {number} aspect width over height of a view
 */
export function screenSize(aspect) {
  const width = Math.min(WIDEST, HIGHEST * aspect)
  return { width, height: width / aspect }
}

/**
 * Build a grid of triangles over a part of the picture.
 * @param {Rect} rect
 * @param {number} segments along each side
 * @param {(across: number, down: number) => [number, number, number]} place from 0 to 1 each, from the top left corner
 * @returns {Mesh}
 */
function grid(rect, segments, place) {
  const mesh = /** @type {Mesh} */ ({ positions: [], places: [], triangles: [] })
  for (let row = 0; row <= segments; row++) {
    for (let column = 0; column <= segments; column++) {
      const across = column / segments
      const down = row / segments
      mesh.positions.push(...place(across, down))
      mesh.places.push(rect.x + across * rect.width, 1 - (rect.y + down * rect.height))
      if (row === segments || column === segments) continue
      const corner = row * (segments + 1) + column
      const below = corner + segments + 1
      mesh.triangles.push(corner, below, corner + 1, corner + 1, below, below + 1)
    }
  }
  return mesh
}

/**
 * Build a flat screen.
 * @param {number} aspect width over height of a view
 * @param {Rect} rect where the view lies in the picture
 */
export function flatScreen(aspect, rect) {
  const { width, height } = screenSize(aspect)
  return grid(rect, 1, (across, down) => [(across - 0.5) * width, (0.5 - down) * height, -DISTANCE])
}

/**
 * Build the half sphere in front of the viewer; azimuth and elevation grow evenly along the view's sides, from -90 to 90
 * degrees, as `spatialdreamer_core/stereo/half_sphere.py` packs it.
 * @param {Rect} rect where the view lies in the picture
 */
export function halfSphere(rect) {
  return grid(rect, SEGMENTS, (across, down) => {
    const azimuth = (across - 0.5) * Math.PI
    const elevation = (0.5 - down) * Math.PI
    return [
      RADIUS * Math.sin(azimuth) * Math.cos(elevation),
      RADIUS * Math.sin(elevation),
      -RADIUS * Math.cos(azimuth) * Math.cos(elevation),
    ]
  })
}

/**
 * Shrink a rectangle by half a pixel on each side, so that no filtering reaches into the other eye's view.
 * @param {Rect} rect
 * @param {number} width of the picture, in pixels
 * @param {number} height of the picture, in pixels
 * @returns {Rect}
 */
export function withinPixels(rect, width, height) {
  return {
    x: rect.x + 0.5 / width,
    y: rect.y + 0.5 / height,
    width: rect.width - 1 / width,
    height: rect.height - 1 / height,
  }
}
