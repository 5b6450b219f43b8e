// @ts-check
/**
 * The live preview on a node: a frame of its last run, warped anew whenever a widget changes. Nothing is queued for that.
 * Values are compared before each picture of the screen while the preview is seen, since no event tells of all the ways in
 * which a widget changes: by hand, by an undo, by a script, by a value of another node.
 */

import { say } from "../shared/words.mjs"
import { layOutBar } from "./comfort_bar.mjs"
import * as geometry from "./geometry.mjs"
import { TINT, makeElements, modeOf, tintsHoles } from "./panel_elements.mjs"
import { acquireRenderer, currentRenderer, releaseRenderer } from "./renderer.mjs"

/** @typedef {import("./widget_values.mjs").Reading} Reading */
/** @typedef {import("./renderer.mjs").Eye} Eye */
/** @typedef {{filename: string, subfolder: string, type: string}} File */

/**
 * What a node sends for its preview, see `nodes/parallax.py`.
 * @typedef {object} Message
 * @property {string} node
 * @property {string} title
 * @property {string} note
 * @property {number} width px
 * @property {number} height px
 * @property {File} picture
 * @property {File} depth
 * @property {geometry.Depths} depths
 * @property {Record<string, any>} values
 * @property {Record<string, any>} fixed
 * @property {geometry.Rules} rules
 */

/**
 * What the panel needs of the page.
 * @typedef {object} Page
 * @property {(message: Message) => Reading} read the widgets' values
 * @property {(name: string) => string} labelOf what a widget is called on the node
 * @property {(file: File) => string} urlOf
 * @property {import("./panel_elements.mjs").Choices} kept what the user has chosen on this node
 * @property {() => void} onResize called when the panel's height changes
 */

const WIGGLE_TIME = 220 // ms that each eye is seen

/** A node's panel. */
export class ParallaxPanel {
  /** @param {Page} page */
  constructor(page) {
    this.page = page
    /** @type {Message | null} */
    this.message = null
    /** @type {ImageBitmap[] | null} */
    this.pictures = null
    /** @type {import("./renderer.mjs").Frame | null} */
    this.frame = null
    /** @type {import("./renderer.mjs").Renderer | null} */
    this.renderer = null // the one that holds the frame
    this.holdsRenderer = false
    this.request = 0
    this.drawn = "" // what is on the canvas
    this.warped = ""
    /** @type {geometry.Placement | null} */
    this.placement = null
    const elements = makeElements(page.kept)
    this.root = elements.root
    this.view = elements.view
    this.canvas = elements.canvas
    this.words = elements.words
    this.bar = elements.bar
    this.sight = new IntersectionObserver((entries) => this.see(entries[entries.length - 1].isIntersecting))
    this.sight.observe(this.canvas)
    this.size = new ResizeObserver(() => page.onResize())
    this.size.observe(this.root)
  }

  /**
   * Show a frame.
   * @param {Message} message
   */
  async show(message) {
    if (this.isDisposed || message.depth.filename === this.message?.depth.filename) return
    this.message = message
    this.root.style.display = "flex"
    const pictures = await Promise.all([message.picture, message.depth].map((file) => this.load(file))).catch(() => null)
    if (this.isDisposed || message !== this.message) return pictures?.forEach((picture) => picture.close())
    this.forget()
    if (!pictures) return this.say(say("preview.gone"))
    this.pictures = pictures
    this.resize(message.width * (modeOf(this.page.kept) === "sbs" ? 2 : 1), message.height)
    this.view.style.display = "flex"
    if (this.request) this.update()
  }

  /**
   * Say why there is no preview.
   * @param {string} text
   */
  say(text) {
    this.view.style.display = "none"
    this.words.textContent = text
  }

  /** @param {File} file */
  async load(file) {
    const response = await fetch(this.page.urlOf(file))
    if (!response.ok) throw new Error(`${response.status}`)
    return createImageBitmap(await response.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" })
  }

  /**
   * Follow the widgets while the preview is seen; else nothing of it is on the GPU. So nothing stays there either of a node
   * inside a subgraph that goes: it is not told.
   * @param {boolean} isSeen
   */
  see(isSeen) {
    cancelAnimationFrame(this.request)
    this.request = 0
    if (!isSeen || this.isDisposed) return this.letGo()
    const follow = () => {
      this.request = requestAnimationFrame(follow)
      this.update()
    }
    follow()
  }

  /**
   * Bring the frame to the GPU if it is not there; the browser may take it away at any time.
   * @param {Message} message
   * @param {ImageBitmap[]} pictures
   * @returns {import("./renderer.mjs").Renderer}
   * @throws {Error} if the browser has no WebGL2
   */
  hold({ width, height }, [picture, depth]) {
    if (!this.holdsRenderer) {
      acquireRenderer()
      this.holdsRenderer = true
    }
    const renderer = currentRenderer()
    if (renderer !== this.renderer) {
      this.renderer = renderer
      this.frame = renderer.open(picture, depth, width, height)
      this.warped = this.drawn = ""
    }
    return renderer
  }

  /** Free what is on the GPU. */
  letGo() {
    if (this.frame && this.renderer && !this.renderer.isLost) this.renderer.close(this.frame)
    this.frame = this.renderer = this.placement = null
    if (this.holdsRenderer) releaseRenderer()
    this.holdsRenderer = false
  }

  /** Draw anew what has changed. */
  update() {
    const { message, pictures } = this
    if (!message || !pictures) return
    let renderer
    try {
      renderer = this.hold(message, pictures)
    } catch (error) {
      this.forget()
      return this.say(say("preview.none", { reason: /** @type {Error} */ (error).message }))
    }
    const frame = /** @type {import("./renderer.mjs").Frame} */ (this.frame)
    const reading = this.page.read(message)
    const state = JSON.stringify(reading)
    if (state !== this.warped) {
      this.warped = state
      this.drawn = ""
      if (!this.warp(renderer, frame, message, reading)) return
    }
    if (!this.placement) return
    const turn = Math.floor(performance.now() / WIGGLE_TIME) % 2 ? "left" : "right"
    const chosen = modeOf(this.page.kept)
    const mode = chosen === "wiggle" ? turn : chosen
    const holes = tintsHoles(this.page.kept) ? "tint" : "fill"
    if (this.drawn === mode + holes) return
    this.drawn = mode + holes
    const shown = renderer.present(frame, mode, holes, TINT)
    this.resize(shown.width, shown.height)
    this.canvas.getContext("2d")?.drawImage(shown, 0, 0)
  }

  /**
   * Give the canvas a size, which the node follows whether it is seen or not.
   * @param {number} width
   * @param {number} height
   */
  resize(width, height) {
    if (this.canvas.width !== width) this.canvas.width = width
    if (this.canvas.height !== height) this.canvas.height = height
  }

  /**
   * Warp the frame by settings, and say what is to be known; returns whether they can be shown.
   * @param {import("./renderer.mjs").Renderer} renderer
   * @param {import("./renderer.mjs").Frame} frame
   * @param {Message} message
   * @param {Reading} reading
   */
  warp(renderer, frame, message, reading) {
    const { rules, depths } = message
    const settings = geometry.suitDevice(reading.settings, rules)
    const fault = geometry.fault(settings, rules)
    if (fault) {
      this.placement = null
      this.words.textContent = say("preview.before", { fault })
      return false
    }
    const placement = (this.placement = geometry.choosePlacement(settings, depths, rules))
    const table = geometry.disparityTable(settings, placement, frame.width, rules)
    const border = geometry.borderWidth(settings, frame.width)
    const eyes = /** @type {Eye[]} */ (settings.eye === "both" ? ["left", "right"] : [settings.eye])
    const reach = geometry.reachOf(table, depths, border)
    renderer.warp(frame, { table, reach, border, eyes })
    const comfort = geometry.comfortOf(settings, placement, depths, rules)
    this.bar.show(layOutBar(comfort, geometry.limitsOf(settings, rules)))
    this.words.textContent = describe(message, reading, settings, placement, this.page.labelOf).join("\n")
    this.canvas.setAttribute("aria-label", say("preview.picture", { comfort: this.bar.text.textContent ?? "" }))
    return true
  }

  /** Free the frame that was shown before. */
  forget() {
    this.letGo()
    for (const picture of this.pictures ?? []) picture.close()
    this.pictures = null
  }

  /** Whether the node is gone. */
  isDisposed = false

  /** Free everything. */
  dispose() {
    if (this.isDisposed) return
    this.isDisposed = true
    this.see(false)
    this.sight.disconnect()
    this.size.disconnect()
    this.forget()
    this.canvas.width = this.canvas.height = 0
    this.root.remove()
  }
}

/**
 * Say which frame is seen, and in what it may differ from a run.
 * @param {Message} message
 * @param {Reading} reading
 * @param {geometry.Settings} settings
 * @param {geometry.Placement} placement
 * @param {Page["labelOf"]} labelOf
 * @returns {string[]}
 */
function describe(message, reading, settings, placement, labelOf) {
  const lines = []
  const { divergence, convergence } = reading.settings
  if (Math.abs(placement.divergence - divergence) > 0.005 || Math.abs(placement.convergence - convergence) > 0.005) {
    const [strength, place] = [placement.divergence, placement.convergence].map((value) => value.toFixed(2))
    lines.push(say("preview.placement", { strength, place }))
  }
  lines.push(...[message.title, message.note].filter(Boolean))
  if (reading.unknown.length) {
    const values = reading.unknown.map((name) => `${labelOf(name)} (${/** @type {any} */ (settings)[name]})`)
    lines.push(say("preview.unknown", { values: values.join(", ") }))
  }
  if (reading.waiting.length) lines.push(say("preview.waiting", { names: reading.waiting.map(labelOf).join(", ") }))
  if (settings.border === "floating_window") lines.push(say("preview.no_window"))
  return lines
}
