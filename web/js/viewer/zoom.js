// @ts-check
/** Which part of a view is shown: how far it is zoomed in, and where. */

/** @typedef {import("./layouts.js").Rect} Rect */

/** @type {Readonly<Rect>} */
export const ALL = Object.freeze({ x: 0, y: 0, width: 1, height: 1 })
export const STEP = 1.25 // of one key or one turn of the wheel
const MOST = 32

/** @param {Rect} shown */
export const factorOf = (shown) => 1 / shown.width

/**
 * Zoom by a factor; what lies at a place stays there, as far as the picture's edges allow.
 * @param {Rect} shown what is shown now
 * @param {number} factor above 1 is nearer
 * @param {{x: number, y: number}} [place] 0 to 1 from the top left corner of what is shown
 * @returns {Rect}
 */
export function zoom(shown, factor, place = { x: 0.5, y: 0.5 }) {
  const width = Math.min(1, Math.max(1 / MOST, shown.width / factor))
  const moved = {
    x: shown.x + place.x * (shown.width - width),
    y: shown.y + place.y * (shown.height - width),
    width,
    height: width,
  }
  return inside(moved)
}

/**
 * Move what is shown, as a hand would that drags the picture.
 * @param {Rect} shown
 * @param {number} right how far the hand has moved, in widths of what is shown
 * @param {number} down in its heights
 * @returns {Rect}
 */
export function pan(shown, right, down) {
  return inside({ ...shown, x: shown.x - right * shown.width, y: shown.y - down * shown.height })
}

/**
 * Keep within the picture.
 * @param {Rect} rect
 * @returns {Rect}
 */
function inside(rect) {
  const within = (/** @type {number} */ start, /** @type {number} */ size) => Math.min(1 - size, Math.max(0, start))
  return { ...rect, x: within(rect.x, rect.width), y: within(rect.y, rect.height) }
}
