// @ts-check
/**
 * From depth and a node's settings to disparity: the formulas of the Python library, for a preview without a run. Each
 * function names the one that it repeats; the numbers in the formulas (`Rules`) come from there with every preview, and
 * `tests/web/test_parallax_formulas.py` holds both to each other.
 *
 * Depth is inverse depth in [0, 1], 1 = near. Disparity is in pixels of the width; above 0 is in front of the screen.
 */

import { say } from "../shared/words.mjs"

/**
 * @typedef {object} Rules
 * @property {[number, number][]} growth (k, b) of the foreground scale's levels 1 to 3
 * @property {[number, number][]} shrinkage (k, b) of its levels -1 to -3
 * @property {Record<string, Partial<Settings>>} devices what suits each viewing device
 * @property {Settings} defaults
 * @property {number} comfort_limit % of the width, to either side of the screen
 * @property {number} least_range of depth_near - depth_far
 */

/**
 * Values of the node's widgets, by their names.
 * @typedef {object} Settings
 * @property {number} divergence % of the width
 * @property {number} convergence
 * @property {"right" | "left" | "both"} eye
 * @property {number} foreground_scale
 * @property {number} depth_gamma
 * @property {number} depth_near
 * @property {number} depth_far
 * @property {string} border
 * @property {number} border_width % of the width
 * @property {boolean} auto_convergence
 * @property {boolean} comfort
 * @property {number} max_crossed % of the width
 * @property {number} max_uncrossed % of the width
 * @property {string} device_profile
 */

/**
 * What is known of the frame's depth before it is shaped.
 * @typedef {object} Depths
 * @property {number} subject
 * @property {number[]} percentiles 0 to 100, 101 of them
 */

/** @typedef {{divergence: number, convergence: number}} Placement */

export const VALUES = 1 << 16 // of depth in 16 bits

/** `softplus` and its counterpart for levels below 0, see `depth/shaping.py`. */
const grown = (/** @type {number} */ x) => Math.log1p(Math.exp(x))
const shrunk = (/** @type {number} */ x) => Math.log(Math.expm1(x))

/**
 * Bend depth by one whole level of the foreground scale: `_bend` of `depth/shaping.py`.
 * @param {number} depth
 * @param {number} level -3 to 3
 * @param {Rules} rules
 */
function bend(depth, level, rules) {
  if (level === 0) return depth
  const [steepness, bias] = (level > 0 ? rules.growth : rules.shrinkage)[Math.abs(level) - 1]
  const curve = level > 0 ? grown : shrunk
  const [value, low, high] = [depth, 0, 1].map((x) => curve(steepness * (x - bias)))
  return clamp((value - low) / (high - low), 0, 1)
}

/**
 * Clip depth's range and bend its curve: `shape_frames` of `depth/shaping.py` without its edges.
 * @param {number} depth
 * @param {Settings} settings
 * @param {Rules} rules
 */
export function shapeDepth(depth, settings, rules) {
  const { depth_near: near, depth_far: far, foreground_scale: scale } = settings
  const clipped = clamp((depth - far) / (near - far), 0, 1) ** settings.depth_gamma
  const level = Math.floor(Math.abs(scale))
  const share = Math.abs(scale) - level
  const sign = Math.sign(scale)
  const bent = bend(clipped, sign * level, rules)
  return share ? bent + share * (bend(clipped, sign * (level + 1), rules) - bent) : bent
}

/**
 * Say why settings cannot be shown, as `DepthShaping.check` does; "" if they can.
 * @param {Settings} settings
 * @param {Rules} rules
 */
export function fault(settings, rules) {
  if (settings.depth_near - settings.depth_far >= rules.least_range - 1e-9) return ""
  return say("preview.depth_range", { least: rules.least_range })
}

/**
 * Complete settings by what suits their viewing device, if there is one; a value that is not its default stays:
 * `suit_device` of `nodes/strength.py`.
 * @param {Settings} settings
 * @param {Rules} rules
 * @returns {Settings}
 */
export function suitDevice(settings, rules) {
  const suited = /** @type {any} */ ({ ...settings })
  for (const [name, value] of Object.entries(rules.devices[settings.device_profile] ?? {})) {
    if (suited[name] === /** @type {any} */ (rules.defaults)[name]) suited[name] = value
  }
  return suited
}

/**
 * Choose how the frame's depth becomes disparity: `StrengthConfig.choose` of `stereo/strength.py`, for a scene of this
 * frame alone.
 * @param {Settings} settings suited to the device
 * @param {Depths} depths
 * @param {Rules} rules
 * @returns {Placement}
 */
export function choosePlacement(settings, depths, rules) {
  const shape = (/** @type {number} */ depth) => shapeDepth(depth, settings, rules)
  const [low, high] = [depths.percentiles[1], depths.percentiles[99]].map(shape)
  const { auto_convergence, comfort, max_crossed, max_uncrossed } = settings
  let { divergence, convergence } = settings
  if (auto_convergence) convergence = shape(depths.subject)
  if (!comfort) return { divergence, convergence }
  if (auto_convergence) {
    divergence = fit(divergence, high - convergence, max_crossed)
    divergence = fit(divergence, convergence - low, max_uncrossed)
    return { divergence, convergence }
  }
  divergence = fit(divergence, high - low, max_crossed + max_uncrossed)
  if (divergence * (high - convergence) > max_crossed) {
    convergence = Math.min(high - max_crossed / divergence, 1)
  } else if (divergence * (low - convergence) < -max_uncrossed) {
    convergence = Math.max(low + max_uncrossed / divergence, 0)
  }
  return { divergence, convergence }
}

/**
 * Lower divergence until a range of depth fits into some room, % of the width: `_fit` of `stereo/strength.py`.
 * @param {number} divergence
 * @param {number} depth
 * @param {number} room
 */
function fit(divergence, depth, room) {
  return divergence * depth <= room ? divergence : room / depth
}

/**
 * Return the disparity of every value of 16-bit depth in pixels, `to_disparity` of `dvg/disparity.py`.
 * @param {Settings} settings
 * @param {Placement} placement
 * @param {number} width px
 * @param {Rules} rules
 * @returns {Float32Array}
 */
export function disparityTable(settings, placement, width, rules) {
  const eyes = settings.eye === "both" ? 2 : 1 // they share the total among them
  const pixels = (placement.divergence / eyes / 100) * width
  const table = new Float32Array(VALUES)
  for (let value = 0; value < VALUES; value++) {
    table[value] = (shapeDepth(value / (VALUES - 1), settings, rules) - placement.convergence) * pixels
  }
  return table
}

/**
 * Return between which disparities all pixels of the frame lie, px.
 * @param {Float32Array} table
 * @param {Depths} depths
 * @param {number} border px, of `borderWidth`
 * @returns {[number, number]}
 */
export function reachOf(table, depths, border) {
  const at = (/** @type {number} */ depth, /** @type {number} */ spare) =>
    table[clamp(Math.round(depth * (VALUES - 1)) + spare, 0, VALUES - 1)]
  const low = at(depths.percentiles[0], -16) // percentiles are rounded
  return [border > 0 ? Math.min(low, 0) : low, at(depths.percentiles[100], 16)]
}

/**
 * Return the width of the border towards which disparity in front of the screen is eased, px; 0 for none.
 * @param {Settings} settings
 * @param {number} width px
 */
export function borderWidth(settings, width) {
  return settings.border === "ease" ? (settings.border_width / 100) * width : 0
}

/**
 * Return the range of the frame's disparity, % of the width, of all but 1 % of its pixels at either end, as
 * `measure_comfort` of `stereo/comfort.py` does; what a border eases is counted as it was.
 * @param {Settings} settings
 * @param {Placement} placement
 * @param {Depths} depths
 * @param {Rules} rules
 * @returns {{farthest: number, nearest: number}}
 */
export function comfortOf(settings, placement, depths, rules) {
  const [farthest, nearest] = [depths.percentiles[1], depths.percentiles[99]].map(
    (depth) => placement.divergence * (shapeDepth(depth, settings, rules) - placement.convergence),
  )
  return { farthest, nearest }
}

/**
 * Return the limits of comfort, % of the width in front of the screen and behind it: those of the settings where they
 * are to be kept to, else those that most people take.
 * @param {Settings} settings suited to the device
 * @param {Rules} rules
 * @returns {{crossed: number, uncrossed: number}}
 */
export function limitsOf(settings, rules) {
  if (settings.comfort) return { crossed: settings.max_crossed, uncrossed: settings.max_uncrossed }
  return { crossed: rules.comfort_limit, uncrossed: rules.comfort_limit }
}

/**
 * @param {number} x
 * @param {number} low
 * @param {number} high
 */
function clamp(x, low, high) {
  return Math.min(Math.max(x, low), high)
}
