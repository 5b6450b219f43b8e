// @ts-check
/**
 * Draws packed pictures in any mode by WebGL2. Browsers keep some 16 contexts and drop the oldest beyond, so all viewers
 * of the page share one: it draws into a canvas that is on no page, and each viewer copies from there. The context is
 * given up with the last viewer.
 */

import { buildProgram } from "../shared/program.mjs"
import { eyesOf } from "./layouts.js"
import { FRAGMENT_SHADER, MODE_NUMBERS, VERTEX_SHADER } from "./shader.js"

/** @typedef {import("./layouts.js").Layout} Layout */
/** @typedef {import("./layouts.js").Rect} Rect */
/** @typedef {import("./modes.js").Mode} Mode */
/** @typedef {HTMLVideoElement | HTMLImageElement | HTMLCanvasElement} Source */

/**
 * @typedef {object} Look
 * @property {Layout} layout
 * @property {Mode} mode
 * @property {Rect} shown the part of a view that is shown
 * @property {boolean} second of wiggle: whether it is the right eye's turn
 */

const UNIFORMS = ["leftEye", "rightEye", "shown", "texel", "level", "rows", "mode", "second"]

/** @type {Renderer | null} */
let shared = null
let users = 0

/**
 * Return the page's renderer, or null where there is no WebGL2. Each call wants one of `releaseRenderer`.
 * @returns {Renderer | null}
 */
export function acquireRenderer() {
  users += 1
  return currentRenderer()
}

/**
 * Return the renderer of those who have acquired one: another than before after the browser has taken its context.
 * @returns {Renderer | null}
 */
export function currentRenderer() {
  if (shared?.isLost) shared = null
  shared ??= Renderer.create()
  return shared
}

/** Give the renderer back. */
export function releaseRenderer() {
  users -= 1
  if (users > 0) return
  shared?.lose()
  shared = null
}

export class Renderer {
  /** @returns {Renderer | null} */
  static create() {
    const canvas = document.createElement("canvas")
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false })
    if (!gl) return null
    try {
      return new Renderer(canvas, gl)
    } catch (error) {
      console.warn("SpatialDreamer: the viewer has no modes, as its shader does not run here:", error)
      return null
    }
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {WebGL2RenderingContext} gl
   */
  constructor(canvas, gl) {
    this.canvas = canvas
    this.gl = gl
    this.largest = /** @type {number} */ (gl.getParameter(gl.MAX_TEXTURE_SIZE))
    const program = buildProgram(gl, VERTEX_SHADER, FRAGMENT_SHADER)
    gl.useProgram(program)
    this.uniforms = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]))
    const corner = gl.getAttribLocation(program, "corner")
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer())
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW)
    gl.enableVertexAttribArray(corner)
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0)
  }

  get isLost() {
    return this.gl.isContextLost()
  }

  /** Give the context up. */
  lose() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext()
  }

  /**
   * Draw a picture over a canvas of the page.
   * @param {PictureTexture} picture
   * @param {Look} look
   * @param {HTMLCanvasElement} target
   */
  draw(picture, look, target) {
    const { gl, canvas, uniforms } = this
    const { width, height } = target
    if (canvas.width < width) canvas.width = width
    if (canvas.height < height) canvas.height = height
    gl.viewport(0, 0, width, height)
    const whole = { x: 0, y: 0, width: 1, height: 1 }
    const eyes = eyesOf(look.layout) ?? { left: whole, right: whole }
    const eye = look.mode === "whole" ? whole : eyes.left
    const across = look.mode === "sbs" ? width / 2 : width
    const level = picture.levelFor(
      (picture.width * eye.width * look.shown.width) / across,
      (picture.height * eye.height * look.shown.height) / height,
    )
    picture.bind()
    const texels = 2 ** Math.ceil(level)
    gl.uniform4f(uniforms.leftEye, eyes.left.x, eyes.left.y, eyes.left.width, eyes.left.height)
    gl.uniform4f(uniforms.rightEye, eyes.right.x, eyes.right.y, eyes.right.width, eyes.right.height)
    gl.uniform4f(uniforms.shown, look.shown.x, look.shown.y, look.shown.width, look.shown.height)
    gl.uniform2f(uniforms.texel, texels / picture.width, texels / picture.height)
    gl.uniform1f(uniforms.level, level)
    gl.uniform1f(uniforms.rows, height)
    gl.uniform1i(uniforms.mode, MODE_NUMBERS[look.mode])
    gl.uniform1i(uniforms.second, look.second ? 1 : 0)
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4)
    target.getContext("2d")?.drawImage(canvas, 0, canvas.height - height, width, height, 0, 0, width, height)
  }
}

/** A packed picture on the GPU. */
export class PictureTexture {
  /** @param {Renderer} renderer */
  constructor(renderer) {
    const { gl } = renderer
    this.renderer = renderer
    this.texture = gl.createTexture()
    this.width = this.height = 1
    this.hasLevels = false
    this.bind()
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE)
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE)
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR)
  }

  bind() {
    const { gl } = this.renderer
    gl.bindTexture(gl.TEXTURE_2D, this.texture)
  }

  /**
   * Take a picture, or a film's present frame, at most as large as the GPU takes it.
   * @param {Source} source
   * @param {number} width px
   * @param {number} height px
   */
  upload(source, width, height) {
    const { gl, largest } = this.renderer
    const factor = Math.min(1, largest / Math.max(width, height))
    this.width = Math.max(1, Math.floor(width * factor))
    this.height = Math.max(1, Math.floor(height * factor))
    this.bind()
    this.hasLevels = false
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR)
    const fitting = factor < 1 ? resized(source, this.width, this.height) : source
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, fitting)
  }

  /**
   * Return the level of the mipmap at which the picture is as large as the screen shows it.
   * @param {number} across texels a pixel, horizontally
   * @param {number} down the same vertically
   */
  levelFor(across, down) {
    const level = Math.max(0, (Math.log2(across) + Math.log2(down)) / 2)
    if (level > 0 && !this.hasLevels) {
      const { gl } = this.renderer
      this.bind()
      gl.generateMipmap(gl.TEXTURE_2D)
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR)
      this.hasLevels = true
    }
    return level
  }

  free() {
    this.renderer.gl.deleteTexture(this.texture)
  }
}

/**
 * Draw a picture smaller.
 * @param {Source} source
 * @param {number} width px
 * @param {number} height px
 */
function resized(source, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height })
  canvas.getContext("2d")?.drawImage(source, 0, 0, width, height)
  return canvas
}
