// @ts-check
/**
 * How a picture or a film holds two views, and where in it each of them lies. A node says it with its result (`stereo` of
 * its output, see `nodes/viewer_output.py`), so that nothing has to be guessed from a file's name or shape.
 *
 * Enter VR gets all of this too: `import("../vr/session.mjs")` gives `isVRSupported(): Promise<boolean>` and
 * `enterVR(request: VRRequest): Promise<void>`.
 */

/**
 * @typedef {object} Layout
 * @property {string} format one of `FORMATS` of `spatialdreamer_core/stereo/formats.py`, such as "half_sbs"
 * @property {boolean} swap whether each eye has the other one's place, as `swap_eyes` packs them
 * @property {number} aspect width over height of one eye's view as it is to be shown; of the whole picture where it
 *   cannot be split
 */

/**
 * A part of the packed picture; x and y run from its top left corner to 1.
 * @typedef {object} Rect
 * @property {number} x
 * @property {number} y
 * @property {number} width
 * @property {number} height
 */

/** @typedef {"left" | "right"} Eye */
/** @typedef {Record<Eye, Rect>} Eyes */

/**
 * What is to be seen in a headset.
 * @typedef {object} VRRequest
 * @property {HTMLVideoElement | HTMLImageElement | HTMLCanvasElement} source the packed picture, which may be playing
 * @property {Layout} layout how it is packed; of `vr180` each view is half a sphere, of all others a flat screen
 * @property {Eyes} eyes where in it each eye's view lies: the true left one's under `left`, swapped or not
 * @property {() => void} onEnd called once when the session has ended, whoever ended it
 */

/** @type {Rect} */
const WHOLE = { x: 0, y: 0, width: 1, height: 1 }
/** @type {Eyes} */
const BESIDE = { left: { ...WHOLE, width: 0.5 }, right: { ...WHOLE, x: 0.5, width: 0.5 } }
/** @type {Eyes} */
const STACKED = { left: { ...WHOLE, height: 0.5 }, right: { ...WHOLE, y: 0.5, height: 0.5 } }

/** @type {Readonly<Record<string, Eyes>>} */
const SPLIT = {
  full_sbs: BESIDE,
  half_sbs: BESIDE,
  cross_eyed: swapped(BESIDE),
  full_tb: STACKED,
  half_tb: STACKED,
  vr180: BESIDE,
}

/**
 * Exchange the eyes.
 * @param {Eyes} eyes
 * @returns {Eyes}
 */
function swapped(eyes) {
  return { left: eyes.right, right: eyes.left }
}

/**
 * Return where each eye's view lies, or null where the views cannot be cut out, as of an anaglyph.
 * @param {Layout} layout
 * @returns {Eyes | null}
 */
export function eyesOf(layout) {
  const eyes = Object.hasOwn(SPLIT, layout.format) ? SPLIT[layout.format] : null
  return eyes && layout.swap ? swapped(eyes) : eyes
}
