// @ts-check
/**
 * The picture of a viewer: a film or a photo in the chosen mode, live pictures of a run, or what there is to say instead.
 * Without WebGL2 the browser shows the file itself.
 */

import { say } from "../shared/words.mjs"
import { modeFor, shownAspect } from "./modes.js"
import { acquireRenderer, currentRenderer, PictureTexture, releaseRenderer } from "./renderer.js"
import { ALL, pan, zoom } from "./zoom.js"

/** @typedef {import("./layouts.js").Layout} Layout */
/** @typedef {import("./modes.js").Mode} Mode */

const WIDEST = 4096 // px of the canvas
const CLICK = 4 // px that a pointer may move in a click

/** Make a part of the page. */
function element(/** @type {string} */ tag, /** @type {string} */ name) {
  const made = document.createElement(tag)
  made.className = `spatialdreamer-viewer-${name}`
  return made
}

export class Stage {
  /**
   * @param {object} calls
   * @param {() => void} calls.onChange when the film's time, length or state has changed
   * @param {() => void} calls.onClick
   */
  constructor({ onChange, onClick }) {
    this.root = element("div", "stage")
    this.canvas = /** @type {HTMLCanvasElement} */ (element("canvas", "canvas"))
    this.live = /** @type {HTMLImageElement} */ (element("img", "live"))
    this.live.alt = say("viewer.live")
    this.message = element("p", "message")
    this.message.setAttribute("role", "status")
    this.root.append(this.canvas, this.live, this.message)
    this.live.hidden = this.message.hidden = true
    this.onChange = onChange
    this.onClick = onClick
    /** @type {HTMLVideoElement | HTMLImageElement | null} */
    this.media = null
    /** @type {Layout} */
    this.layout = { format: "", swap: false, aspect: 16 / 9 }
    /** @type {Mode} */
    this.mode = "whole"
    this.period = 150 // ms that wiggle shows each view
    this.shown = { ...ALL }
    this.second = false
    this.hasModes = false
    /** @type {PictureTexture | null} */
    this.texture = null
    this.isFresh = false // whether there is a frame that the texture lacks
    this.frameRequest = 0
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined
    this.resizing = new ResizeObserver(() => this.invalidate())
    this.listenToPointers()
  }

  get video() {
    return this.media instanceof HTMLVideoElement ? this.media : null
  }

  get isReady() {
    if (this.media instanceof HTMLVideoElement) return this.media.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA
    return !!this.media?.complete && this.media.naturalWidth > 0
  }

  /**
   * Show a file in place of what is shown.
   * @param {object} file
   * @param {string} file.url
   * @param {"video" | "image"} file.kind
   * @param {Layout} file.layout
   * @param {() => Promise<string>} file.explain says why it could not be shown
   */
  open({ url, kind, layout, explain }) {
    const hasModes = acquireRenderer() !== null // before the last file lets the context go
    this.close()
    this.layout = layout
    this.hasModes = hasModes
    const media = kind === "video" ? document.createElement("video") : document.createElement("img")
    media.className = "spatialdreamer-viewer-media"
    this.media = media
    this.root.classList.toggle("plain", !this.hasModes)
    const isCurrent = () => this.media === media
    const refresh = () => {
      if (!isCurrent()) return
      this.isFresh = true
      this.invalidate()
      this.onChange()
    }
    media.addEventListener("error", async () => {
      if (!isCurrent()) return
      const reason = await explain()
      if (isCurrent()) this.say(reason)
    })
    if (media instanceof HTMLVideoElement) {
      media.playsInline = true
      // With "auto" each film of a page would keep a connection, of which browsers have 6 to a server.
      media.preload = "metadata"
      media.addEventListener("loadedmetadata", () => {
        if (!media.seeking) media.currentTime = 0 // some browsers have no first frame before they are asked
      })
      for (const event of ["loadeddata", "seeked"]) media.addEventListener(event, refresh)
      for (const event of ["timeupdate", "durationchange", "play", "pause", "ended", "ratechange", "volumechange"])
        media.addEventListener(event, () => isCurrent() && this.onChange())
      this.followFrames(media)
    } else {
      media.alt = ""
      media.addEventListener("load", refresh)
    }
    media.src = url
    this.root.prepend(media)
    this.resizing.observe(this.root)
    this.wiggle()
  }

  /**
   * Draw every frame of a playing film.
   * @param {HTMLVideoElement} video
   */
  followFrames(video) {
    const follow = () => {
      if (this.media !== video) return
      this.isFresh = true
      this.draw()
      this.onChange()
      next()
    }
    const tells = "requestVideoFrameCallback" in HTMLVideoElement.prototype // Firefox does since 132
    const next = () => {
      if (tells) video.requestVideoFrameCallback(follow)
      else if (!video.paused) requestAnimationFrame(follow)
    }
    if (tells) next()
    else video.addEventListener("play", next)
  }

  /** Free all that the file holds: the film's buffers, the texture, the timer, and with the last viewer the GPU. */
  close() {
    const media = this.media
    this.media = null
    this.say("")
    this.showLive(null)
    this.shown = { ...ALL }
    clearInterval(this.timer)
    cancelAnimationFrame(this.frameRequest)
    this.frameRequest = 0
    this.resizing.disconnect()
    if (!media) return
    if (media instanceof HTMLVideoElement) media.pause()
    media.removeAttribute("src")
    if (media instanceof HTMLVideoElement) media.load()
    media.remove()
    if (this.texture && this.texture.renderer === currentRenderer()) this.texture.free()
    this.texture = null
    this.canvas.width = this.canvas.height = 0
    releaseRenderer()
  }

  /**
   * Show a picture of the work over the file, or the file again.
   * @param {Blob | null} picture
   */
  showLive(picture) {
    if (this.live.src) URL.revokeObjectURL(this.live.src)
    this.live.hidden = picture === null
    if (picture) this.live.src = URL.createObjectURL(picture)
    else this.live.removeAttribute("src")
  }

  /**
   * Say something in place of the picture.
   * @param {string} text empty: nothing, and the picture is seen
   */
  say(text) {
    this.message.textContent = text
    this.message.hidden = !text
    this.canvas.hidden = !!text
  }

  /**
   * Choose how the views are shown.
   * @param {{mode?: unknown, swap?: boolean, period?: number}} choice
   */
  choose({ mode = this.mode, swap = false, period = this.period }) {
    this.layout = { ...this.layout, swap }
    const chosen = modeFor(mode, this.layout)
    if (chosen !== this.mode || period !== this.period) {
      this.mode = chosen
      this.period = period
      this.wiggle()
    }
    this.invalidate()
  }

  /** Let the views take turns, if they are to. */
  wiggle() {
    clearInterval(this.timer)
    this.second = false
    if (this.mode !== "wiggle" || !this.media) return
    this.timer = setInterval(() => {
      this.second = !this.second
      if (!document.hidden) this.draw()
    }, this.period)
  }

  /** Draw soon, once. */
  invalidate() {
    this.frameRequest ||= requestAnimationFrame(() => {
      this.frameRequest = 0
      this.draw()
    })
  }

  /** Draw the picture as large as it fits. */
  draw() {
    const { media, root, canvas } = this
    const renderer = this.hasModes && this.isReady ? currentRenderer() : null
    if (!media || !renderer || !root.clientWidth || !root.clientHeight) return
    const aspect = shownAspect(this.layout, this.mode)
    const width = Math.min(root.clientWidth, root.clientHeight * aspect)
    Object.assign(canvas.style, { width: `${width}px`, height: `${width / aspect}px` })
    const magnified = root.getBoundingClientRect().width / root.offsetWidth // by the graph
    const density = Math.min((magnified || 1) * devicePixelRatio, WIDEST / Math.max(width, width / aspect))
    const pixels = [width, width / aspect].map((side) => Math.max(1, Math.round(side * density)))
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels
    if (this.texture?.renderer !== renderer) {
      this.texture = new PictureTexture(renderer)
      this.isFresh = true
    }
    if (this.isFresh) {
      const [across, down] =
        media instanceof HTMLVideoElement
          ? [media.videoWidth, media.videoHeight]
          : [media.naturalWidth, media.naturalHeight]
      this.texture.upload(media, across, down)
      this.isFresh = false
    }
    renderer.draw(this.texture, this, canvas)
  }

  /**
   * @param {number} factor above 1 is nearer, 0 shows all
   * @param {{x: number, y: number}} [place] what stays where it is, of what is shown
   */
  zoom(factor, place) {
    this.shown = factor ? zoom(this.shown, factor, place) : { ...ALL }
    this.moved()
  }

  /** Show the part that is chosen now. */
  moved() {
    if (!this.hasModes && this.media) {
      const { x, y, width } = this.shown
      this.media.style.transform = `scale(${1 / width}) translate(${(0.5 - x - width / 2) * 100}%, ${(0.5 - y - width / 2) * 100}%)`
    }
    this.invalidate()
  }

  /**
   * Return where an event is on the picture, 0 to 1; beside each other both views have the same places.
   * @param {MouseEvent} event
   */
  placeOf(event) {
    const box = (this.hasModes ? this.canvas : this.root).getBoundingClientRect()
    let x = (event.clientX - box.left) / (box.width || 1)
    if (this.mode === "sbs") x = (2 * x) % 1
    return { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, (event.clientY - box.top) / (box.height || 1))) }
  }

  /** Clicks, and drags that move a picture which is zoomed in. */
  listenToPointers() {
    /** @type {{x: number, y: number, far: boolean} | null} */
    let held = null
    this.root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return
      held = { x: event.clientX, y: event.clientY, far: false }
      this.root.setPointerCapture(event.pointerId)
    })
    this.root.addEventListener("pointermove", (event) => {
      if (!held) return
      const [right, down] = [event.clientX - held.x, event.clientY - held.y]
      if (!held.far && Math.hypot(right, down) < CLICK) return
      const box = (this.hasModes ? this.canvas : this.root).getBoundingClientRect()
      const views = this.mode === "sbs" ? 2 : 1
      this.shown = pan(this.shown, (right * views) / (box.width || 1), down / (box.height || 1))
      held = { x: event.clientX, y: event.clientY, far: true }
      this.moved()
    })
    this.root.addEventListener("pointerup", () => {
      if (held && !held.far) this.onClick()
      held = null
    })
    this.root.addEventListener("pointercancel", () => (held = null))
  }
}
