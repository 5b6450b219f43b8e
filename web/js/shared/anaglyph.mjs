// @ts-check
/**
 * The red-cyan anaglyph that films get by default: Dubois' matrix, red on the left eye. The numbers are those of
 * `DUBOIS_RED_CYAN` in `spatialdreamer_core/stereo/anaglyph.py`; a test holds both to each other.
 */

/** Rows give red, green, blue; the first three columns weigh the left view's R, G, B, the others the right view's. */
export const DUBOIS_RED_CYAN = [
  [0.437, 0.449, 0.164, -0.011, -0.032, -0.007],
  [-0.062, -0.062, -0.024, 0.377, 0.761, 0.009],
  [-0.048, -0.05, -0.017, -0.026, -0.093, 1.234],
]

/**
 * Return the GLSL function `vec3 anaglyph(vec3 left, vec3 right)`, which mixes two colours.
 * @returns {string}
 */
export function anaglyphSource() {
  const rows = DUBOIS_RED_CYAN.map((row) => {
    const [left, right] = [row.slice(0, 3), row.slice(3)].map((part) => part.map((x) => x.toFixed(4)).join(", "))
    return `dot(left, vec3(${left})) + dot(right, vec3(${right}))`
  })
  return `vec3 anaglyph(vec3 left, vec3 right) {
  return clamp(vec3(${rows.join(",\n    ")}), 0.0, 1.0);
}`
}
