// @ts-check
/** Time in a film: frames, steps and how a time is written. */

export const SPEEDS = [0.25, 0.5, 1, 1.5, 2]

/**
 * Return the number of the frame that is shown at a time, from 0.
 * @param {number} time s
 * @param {number} rate frames per second
 */
export function frameAt(time, rate) {
  return Math.max(0, Math.floor(time * rate + 1e-3)) // browsers round times to microseconds
}

/**
 * Return the time to seek to for a frame: its middle, as its beginning may be rounded into the frame before.
 * @param {number} frame from 0
 * @param {number} rate frames per second
 */
export const timeOf = (frame, rate) => (frame + 0.5) / rate

/**
 * Return where a step of some frames leads, within the film.
 * @param {number} time s, now
 * @param {number} steps frames, below 0 backwards
 * @param {number} rate frames per second
 * @param {number} duration s
 */
export function stepped(time, steps, rate, duration) {
  const last = Math.max(0, Math.round(duration * rate) - 1)
  return timeOf(Math.min(last, Math.max(0, frameAt(time, rate) + steps)), rate)
}

/**
 * Write a time as m:ss, or h:mm:ss from an hour on.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Number.isFinite(seconds) ? Math.max(0, Math.floor(seconds)) : 0
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0")
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}
