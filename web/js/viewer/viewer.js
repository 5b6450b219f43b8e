// @ts-check
/**
 * A viewer of stereo results: one or more files, each in the chosen mode, with buttons and keys. It knows the page's
 * elements and nothing of ComfyUI.
 */

import { say } from "../shared/words.mjs"
import { Controls } from "./controls.js"
import { actionOf } from "./keys.js"
import { eyesOf } from "./layouts.js"
import { FIRST_MODE, modeFor, modesOf } from "./modes.js"
import { SPEEDS, stepped, timeOf } from "./playback.js"
import { Stage } from "./stage.js"
import { factorOf, STEP } from "./zoom.js"

/**
 * A file to be shown, and how it holds two views.
 * @typedef {object} Result
 * @property {string} url
 * @property {string} name what is said to be shown
 * @property {string} note what else there is to say
 * @property {"video" | "image"} kind
 * @property {import("./layouts.js").Layout} layout
 * @property {number} rate of a film, frames per second
 */

/**
 * What a viewer is set to; a node keeps it.
 * @typedef {object} Settings
 * @property {import("./modes.js").Mode} mode
 * @property {boolean} swap
 * @property {number} period ms that wiggle shows each view
 * @property {number} speed
 * @property {boolean} loop
 * @property {boolean} muted
 */

/** @type {Readonly<Settings>} */
export const DEFAULTS = Object.freeze({
  mode: FIRST_MODE,
  swap: false,
  period: 150,
  speed: 1,
  loop: true,
  muted: false,
})
const TALLEST = 0.75 // width over height of the picture's place; taller pictures have black at their sides
const [MIDDLE, MIDDLE_HELD] = [1, 4] // a mouse's button, by its number and by its bit
const H264 = 'video/mp4; codecs="avc1.640028"'

export class StereoViewer {
  /**
   * @param {object} node what the viewer is on
   * @param {() => Partial<Settings>} node.read its settings that are not the defaults
   * @param {(settings: Partial<Settings>) => void} node.write
   * @param {(event: WheelEvent | PointerEvent) => void} node.passOn takes what is meant for the graph: the wheel while the
   *   viewer has no focus, and the middle button
   */
  constructor({ read, write, passOn }) {
    this.read = read
    this.write = write
    /** @type {Result[]} */
    this.results = []
    this.index = 0
    /** @type {Promise<typeof import("../vr/session.mjs")> | null} */
    this.vr = null
    this.root = document.createElement("div")
    this.root.className = "spatialdreamer-viewer"
    this.root.tabIndex = 0
    this.root.setAttribute("role", "group")
    this.root.setAttribute("aria-label", say("viewer.title"))
    this.stage = new Stage({
      onChange: () => this.refresh(),
      onClick: () => this.act({ kind: "play" }),
    })
    this.controls = new Controls((request) => this.act(request))
    this.root.append(this.stage.root, this.controls.root, this.controls.keys)
    this.root.hidden = true
    this.root.addEventListener("keydown", (event) => this.onKey(event))
    this.stage.root.addEventListener("wheel", (event) => this.onWheel(event, passOn), { passive: false })
    for (const type of /** @type {const} */ (["pointerdown", "pointermove", "pointerup"]))
      this.root.addEventListener(type, (event) => {
        if (event.button === MIDDLE || event.buttons & MIDDLE_HELD) passOn(event)
        else event.stopPropagation() // else Nodes 2.0 drags the node
      })
    this.root.addEventListener("dblclick", (event) => event.stopPropagation())
    this.root.addEventListener("pointerdown", (event) => {
      if (!(event.target instanceof Element && event.target.closest("button, select, input"))) this.root.focus()
    })
    this.stage.root.addEventListener("dblclick", () => this.act({ kind: "fullscreen" }))
  }

  /** @returns {Settings} */
  get settings() {
    return { ...DEFAULTS, ...this.read() }
  }

  get isShowing() {
    return !this.root.hidden
  }

  /** Width over height of the picture's place: that of one view, whatever the mode. */
  get aspect() {
    return Math.max(TALLEST, this.results[this.index]?.layout.aspect ?? 16 / 9)
  }

  /**
   * Show results, the first one before the others.
   * @param {Result[]} results
   */
  show(results) {
    this.results = results
    this.root.hidden = !results.length
    if (results.length) this.open(0)
    else this.stage.close()
  }

  /** Free all that the browser holds for the viewer. It can show results again. */
  close() {
    this.results = []
    this.stage.close()
    this.root.hidden = true
    if (document.fullscreenElement === this.root) document.exitFullscreen()
  }

  /**
   * Show a live picture of a run in place of the results, until there are others or `endLive`.
   * @param {Blob} picture
   */
  showLive(picture) {
    this.stage.video?.pause()
    this.stage.showLive(picture)
    this.root.hidden = false
    this.controls.root.hidden = true
  }

  /** Show the results again. */
  endLive() {
    this.stage.showLive(null)
    this.controls.root.hidden = false
    this.root.hidden = !this.results.length
  }

  /**
   * Show one of the results.
   * @param {number} index
   */
  open(index) {
    this.index = index
    const { url, name, kind, layout } = this.results[index]
    this.stage.open({ url, kind, layout, explain: () => whyNot(url, name, kind) })
    this.controls.root.hidden = false
    this.root.style.setProperty("--view-aspect", String(this.aspect))
    this.apply()
    this.offerVR(layout)
  }

  /** Let the settings take effect. */
  apply() {
    const { mode, swap, period, speed, loop, muted } = this.settings
    const { layout } = this.results[this.index]
    this.stage.choose({ mode: modeFor(mode, layout), swap: swap !== layout.swap, period })
    const { video } = this.stage
    if (video) {
      Object.assign(video, { loop, muted })
      video.defaultPlaybackRate = video.playbackRate = speed
    }
    this.refresh()
  }

  /** Let the controls show what is. */
  refresh() {
    const result = this.results[this.index]
    if (!result) return
    const { video, mode, hasModes, shown } = this.stage
    const { swap, period, loop, muted, speed } = this.settings
    this.controls.show({
      mode,
      modes: modesOf(result.layout),
      hasModes,
      swap,
      period,
      isZoomed: factorOf(shown) > 1,
      file: this.index,
      files: this.results.length,
      name: result.name,
      note: result.note,
      film: video && {
        time: video.currentTime,
        duration: video.duration || 0,
        rate: result.rate,
        isPaused: video.paused,
        ...{ loop, muted, speed },
      },
    })
  }

  /**
   * Keep settings, of which the node remembers those that are not the defaults.
   * @param {Partial<Settings>} change
   */
  set(change) {
    const settings = { ...this.settings, ...change }
    const own = Object.entries(settings).filter(([name, value]) => value !== DEFAULTS[/** @type {keyof Settings} */ (name)])
    this.write(Object.fromEntries(own))
    this.apply()
  }

  /**
   * Do what a button or a key asks for.
   * @param {import("./controls.js").Request} request
   */
  act(request) {
    const { stage, settings } = this
    const { video } = stage
    const result = this.results[this.index]
    if (!result) return
    switch (request.kind) {
      case "mode":
        return this.set({ mode: request.mode })
      case "swap":
        return this.set({ swap: !settings.swap })
      case "period":
        return this.set({ period: request.period })
      case "loop":
        return this.set({ loop: !settings.loop })
      case "mute":
        return this.set({ muted: !settings.muted })
      case "speedTo":
        return this.set({ speed: request.speed })
      case "speed": {
        const place = SPEEDS.indexOf(settings.speed) + request.by
        return this.set({ speed: SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, place))] })
      }
      case "play":
        if (video?.paused) video.play().catch(() => {}) // refused where the file cannot be played, which is said
        else video?.pause()
        return
      case "step":
        return this.seek(stepped(video?.currentTime ?? 0, request.by, result.rate, video?.duration || 0))
      case "seek":
        return this.seek((video?.currentTime ?? 0) + request.by, { pauses: false })
      case "time":
        return this.seek(request.time)
      case "start":
        return this.seek(0, { pauses: false })
      case "end":
        return this.seek(stepped(0, Infinity, result.rate, video?.duration || 0))
      case "zoom":
        stage.zoom(STEP ** request.by)
        return this.refresh()
      case "fit":
        stage.zoom(0)
        return this.refresh()
      case "file":
        if (this.results.length > 1) this.open((this.index + request.by + this.results.length) % this.results.length)
        return
      case "fullscreen":
        if (document.fullscreenElement) document.exitFullscreen()
        else this.root.requestFullscreen?.().catch(() => {}) // refused without a person's click
        return
      case "help":
        this.controls.keys.hidden = !this.controls.keys.hidden
        return
      case "vr":
        this.enterVR()
    }
  }

  /**
   * Go to a time of the film.
   * @param {number} time s
   * @param {{pauses?: boolean}} [how]
   */
  seek(time, { pauses = true } = {}) {
    const { video } = this.stage
    if (!video?.duration) return
    if (pauses) video.pause()
    const last = timeOf(Math.round(video.duration * this.results[this.index].rate) - 1, this.results[this.index].rate)
    video.currentTime = Math.min(Math.max(0, time), last)
    this.refresh()
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const pressesButton = event.target instanceof HTMLButtonElement && event.key === " "
    if (pressesButton || event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) {
      event.stopPropagation() // they have keys of their own
      return
    }
    if (event.key === "Escape" && !this.controls.keys.hidden) {
      event.stopPropagation()
      this.controls.keys.hidden = true
      return
    }
    const action = actionOf(event)
    if (!action) return
    event.preventDefault()
    event.stopPropagation()
    this.act(action)
  }

  /**
   * Zoom by the wheel if the viewer has the focus; otherwise the wheel is the graph's.
   * @param {WheelEvent} event
   * @param {(event: WheelEvent) => void} passOn
   */
  onWheel(event, passOn) {
    if (!this.root.contains(document.activeElement)) return passOn(event)
    event.preventDefault()
    event.stopPropagation()
    this.stage.zoom(event.deltaY < 0 ? STEP : 1 / STEP, this.stage.placeOf(event))
    this.refresh()
  }

  /**
   * Show the button for headsets where there is one and a layout that it can show.
   * @param {import("./layouts.js").Layout} layout
   */
  async offerVR(layout) {
    this.controls.vr.hidden = true
    if (!eyesOf(layout) || !navigator.xr) return
    this.vr ??= import("../vr/session.mjs")
    this.controls.vr.hidden = !(await (await this.vr).isVRSupported())
  }

  async enterVR() {
    const { media, layout } = this.stage
    const eyes = eyesOf(layout)
    if (!this.vr || !media || !eyes) return
    const { enterVR } = await this.vr
    await enterVR({ source: media, layout, eyes, onEnd: () => this.refresh() }).catch((error) => {
      this.controls.note.textContent = error.message
    })
  }
}

/**
 * Say why a file could not be shown.
 * @param {string} url
 * @param {string} name
 * @param {"video" | "image"} kind
 */
async function whyNot(url, name, kind) {
  const answer = await fetch(url, { method: "HEAD" }).catch(() => null)
  if (answer?.status === 404) return say("viewer.gone", { name })
  if (!answer?.ok) return say("viewer.no_answer", { name })
  if (kind === "video" && !document.createElement("video").canPlayType(H264))
    return say("viewer.no_h264")
  return say("viewer.not_shown", { name })
}
