// @ts-check
/** The viewer's buttons, sliders and lists, and its list of keys: elements alone, which ask by actions. */

import { say } from "../shared/words.mjs"
import { keyHelp } from "./keys.js"
import { MODES } from "./modes.js"
import { clock, frameAt, SPEEDS, timeOf } from "./playback.js"

/**
 * @typedef {import("./keys.js").Action
 *   | {kind: "time", time: number}
 *   | {kind: "speedTo", speed: number}
 *   | {kind: "period", period: number}
 *   | {kind: "vr"}} Request
 */

/**
 * What the controls show.
 * @typedef {object} State
 * @property {import("./modes.js").Mode} mode
 * @property {import("./modes.js").Mode[]} modes
 * @property {boolean} hasModes
 * @property {boolean} swap
 * @property {number} period ms
 * @property {boolean} isZoomed
 * @property {number} file from 0
 * @property {number} files
 * @property {string} name of the file
 * @property {string} note what else there is to say of it
 * @property {{time: number, duration: number, rate: number, isPaused: boolean, loop: boolean, muted: boolean,
 *   speed: number} | null} film null of a photo
 */

/** Paths of 16 by 16; those that are drawn by lines begin with a space. */
const ICONS = {
  play: "M4 2.5v11L13 8z",
  pause: "M4 2.5h3v11H4zM9 2.5h3v11H9z",
  back: "M11.5 3v10L5 8zM3 3h1.5v10H3z",
  on: "M4.5 3v10L11 8zM11.5 3H13v10h-1.5z",
  loop: " M3 8a5 5 0 0 1 9-3M13 8a5 5 0 0 1-9 3M12.5 1.5V5H9M3.5 14.5V11H7",
  sound: "M2 6h2.5L9 2.5v11L4.5 10H2zM10.5 5.2a3.6 3.6 0 0 1 0 5.6zM11.5 2.6a6.2 6.2 0 0 1 0 10.8l.9 1.2a7.7 7.7 0 0 0 0-13.2z",
  muted: " M2.5 6.5H5L8.5 3.5v9L5 9.5H2.5zM10.5 6l4 4M14.5 6l-4 4",
  swap: " M3 5h9M9 2l3 3-3 3M13 11H4M7 8l-3 3 3 3",
  all: " M3 3h10v10H3zM6 6h4v4H6z",
  full: " M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  headset: " M1.5 4.5h13v7h-4l-1.5-3H7l-1.5 3h-4z",
  previous: " M10 3L5 8l5 5",
  next: " M6 3l5 5-5 5",
  help: " M5.5 6a2.5 2.5 0 1 1 3.7 2.2C8.3 8.7 8 9.2 8 10M8 12.2v1",
}

/**
 * Draw an icon.
 * @param {keyof typeof ICONS} name
 */
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg")
  svg.setAttribute("viewBox", "0 0 16 16")
  svg.setAttribute("aria-hidden", "true")
  const path = document.createElementNS(svg.namespaceURI, "path")
  path.setAttribute("d", ICONS[name])
  if (ICONS[name].startsWith(" ")) path.setAttribute("class", "lines")
  svg.append(path)
  return svg
}

/**
 * Make a part of the controls.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} name
 * @param {string} [label] for those who cannot see it, and beside the pointer
 */
function part(tag, name, label) {
  const element = document.createElement(tag)
  element.className = `spatialdreamer-viewer-${name}`
  if (label) {
    element.title = label
    element.setAttribute("aria-label", label)
  }
  return element
}

/**
 * Make a list to choose from.
 * @param {string} name
 * @param {string} label
 * @param {Array<{value: string, text: string, title?: string}>} options
 */
function list(name, label, options) {
  const select = part("select", name, label)
  for (const { value, text, title = "" } of options) {
    const option = new Option(text, value)
    option.title = title
    select.append(option)
  }
  return select
}

export class Controls {
  /** @param {(request: Request) => void} ask */
  constructor(ask) {
    this.rate = 24
    const button = (
      /** @type {keyof typeof ICONS} */ name,
      /** @type {string} */ label,
      /** @type {Request} */ request,
    ) => {
      const made = part("button", "button", label)
      made.type = "button"
      made.append(icon(name))
      made.addEventListener("click", () => ask(request))
      return made
    }
    this.play = button("play", say("viewer.play"), { kind: "play" })
    this.back = button("back", say("viewer.back"), { kind: "step", by: -1 })
    this.on = button("on", say("viewer.on"), { kind: "step", by: 1 })
    this.loop = button("loop", say("viewer.loop"), { kind: "loop" })
    this.mute = button("sound", say("viewer.mute"), { kind: "mute" })
    this.swap = button("swap", say("viewer.swap"), { kind: "swap" })
    this.all = button("all", say("viewer.all"), { kind: "fit" })
    this.full = button("full", say("viewer.full"), { kind: "fullscreen" })
    this.vr = button("headset", say("vr.enter"), { kind: "vr" })
    this.vr.hidden = true
    this.previous = button("previous", say("viewer.previous"), { kind: "file", by: -1 })
    this.next = button("next", say("viewer.next"), { kind: "file", by: 1 })
    this.help = button("help", say("viewer.help"), { kind: "help" })
    this.scrub = part("input", "scrub", say("viewer.scrub"))
    Object.assign(this.scrub, { type: "range", min: "0", step: "1" })
    this.scrub.addEventListener("input", () => ask({ kind: "time", time: timeOf(Number(this.scrub.value), this.rate) }))
    this.time = part("span", "time")
    this.mode = list(
      "mode",
      say("viewer.mode"),
      MODES.map((mode) => ({ value: mode, text: say(`mode.${mode}`), title: say(`mode_hint.${mode}`) })),
    )
    this.mode.addEventListener("change", () => {
      const mode = MODES.find((name) => name === this.mode.value)
      if (mode) ask({ kind: "mode", mode })
    })
    const speeds = SPEEDS.map((speed) => ({ value: String(speed), text: `${speed}×` }))
    this.speed = list("speed", say("viewer.speed"), speeds)
    this.speed.addEventListener("change", () => ask({ kind: "speedTo", speed: Number(this.speed.value) }))
    this.period = part("input", "period", say("viewer.period"))
    Object.assign(this.period, { type: "range", min: "50", max: "600", step: "10" })
    this.period.addEventListener("input", () => ask({ kind: "period", period: Number(this.period.value) }))
    this.name = part("span", "name")
    this.note = part("span", "note")

    this.film = part("div", "bar")
    this.film.append(this.play, this.back, this.on, this.scrub, this.time)
    this.files = part("span", "files")
    this.files.append(this.previous, this.next)
    this.bar = part("div", "bar")
    const right = part("span", "right")
    right.append(this.speed, this.loop, this.mute, this.all, this.vr, this.full, this.help)
    this.bar.append(this.mode, this.swap, this.period, right)
    this.about = part("div", "bar spatialdreamer-viewer-about")
    this.about.append(this.files, this.name, this.note)
    this.root = part("div", "controls")
    this.root.append(this.film, this.bar, this.about)
    this.keys = part("dl", "keys", say("viewer.keys"))
    this.keys.hidden = true
    this.keys.addEventListener("click", () => (this.keys.hidden = true))
    for (const [key, does] of keyHelp()) {
      const [term, meaning] = [document.createElement("dt"), document.createElement("dd")]
      term.textContent = key
      meaning.textContent = does
      this.keys.append(term, meaning)
    }
  }

  /**
   * Show a state.
   * @param {State} state
   */
  show(state) {
    const { film } = state
    this.mode.hidden = !state.hasModes || state.modes.length < 2
    for (const option of this.mode.options) option.hidden = !state.modes.some((mode) => mode === option.value)
    this.mode.value = state.mode
    this.swap.hidden = this.mode.hidden
    press(this.swap, state.swap)
    this.period.hidden = this.mode.hidden || state.mode !== "wiggle"
    this.period.value = String(state.period)
    this.all.hidden = !state.isZoomed
    this.files.hidden = state.files < 2
    const { file, files, name } = state
    this.name.textContent = files < 2 ? name : say("viewer.file_of", { file: file + 1, files, name })
    this.note.textContent = state.note
    this.about.hidden = state.files < 2 && !state.note // the node says the file's name itself
    this.film.hidden = !film || film.duration * film.rate < 1.5
    for (const element of [this.speed, this.loop, this.mute]) element.hidden = this.film.hidden
    if (!film) return
    this.rate = film.rate
    const last = Math.max(0, Math.round(film.duration * film.rate) - 1)
    const frame = Math.min(last, frameAt(film.time, film.rate))
    this.scrub.max = String(last)
    if (!this.scrub.matches(":active")) this.scrub.value = String(frame)
    const place = say("viewer.frame_of", { frame: frame + 1, frames: last + 1 })
    this.scrub.setAttribute("aria-valuetext", place)
    this.time.textContent = `${clock(film.time)} / ${clock(film.duration)}`
    this.time.title = place
    change(this.play, film.isPaused ? "play" : "pause", say(film.isPaused ? "viewer.play" : "viewer.pause"))
    change(this.mute, film.muted ? "muted" : "sound", say(film.muted ? "viewer.unmute" : "viewer.mute"))
    press(this.loop, film.loop)
    this.speed.value = String(film.speed)
  }
}

/**
 * Show that a button is pressed, or that it is not.
 * @param {HTMLButtonElement} button
 * @param {boolean} pressed
 */
function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed))
}

/**
 * Give a button another icon and name.
 * @param {HTMLButtonElement} button
 * @param {keyof typeof ICONS} name
 * @param {string} label
 */
function change(button, name, label) {
  if (button.title === label) return
  button.replaceChildren(icon(name))
  button.title = label
  button.setAttribute("aria-label", label)
}
