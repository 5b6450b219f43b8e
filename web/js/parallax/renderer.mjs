// @ts-check
/**
 * Draws previews with WebGL2. A page has few contexts, so all previews share one, which is given back when the last of
 * them goes; each copies its picture from the shared canvas to its own.
 */

import { anaglyphSource } from "../shared/anaglyph.mjs"
import { buildProgram } from "../shared/program.mjs"
import { say } from "../shared/words.mjs"
import { BRIDGE, COLOURS, DISPARITY, OUTLINES, SPLAT, VERTEX } from "./warp_shaders.mjs"

/** @typedef {"left" | "right"} Eye */
/** @typedef {"left" | "right" | "anaglyph" | "sbs"} Mode */

/**
 * How holes are shown: black as the warp leaves them, in one colour, or stretched over by the background beside them.
 * @typedef {"black" | "tint" | "fill"} Holes
 */

/**
 * A frame on the GPU, and the views of it that were rendered.
 * @typedef {object} Frame
 * @property {number} width
 * @property {number} height
 * @property {WebGLTexture} picture
 * @property {WebGLTexture} depth
 * @property {Partial<Record<Eye, WebGLTexture>>} views
 * @property {number} span px, how wide a hole can be
 */

/**
 * @typedef {object} Warp
 * @property {Float32Array} table disparity of every depth, px
 * @property {[number, number]} reach the least and the largest disparity, px
 * @property {number} border px
 * @property {Eye[]} eyes those to be rendered; the other one sees the frame itself
 */

const PRESENT = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform sampler2D u_left;
uniform sampler2D u_right;
uniform int u_mode; // 0 left, 1 right, 2 anaglyph, 3 side by side
uniform int u_holes; // 0 black, 1 tinted, 2 filled
uniform vec3 u_tint;
uniform int u_span;
out vec4 colour;
${anaglyphSource()}
vec3 eye(sampler2D view, ivec2 at, int away) { // away: from a foreground to the background that its hole is beside
  vec4 own = texelFetch(view, at, 0);
  if (own.a > 0.5 || u_holes == 0) return own.rgb;
  if (u_holes == 1) return u_tint;
  int last = textureSize(view, 0).x - 1;
  for (int n = 1; n <= 2 * u_span; n++) { // first the background's side, then the other one
    int x = n <= u_span ? at.x + away * n : at.x - away * (n - u_span);
    vec4 beside = x < 0 || x > last ? vec4(0) : texelFetch(view, ivec2(x, at.y), 0);
    if (beside.a > 0.5) return beside.rgb;
  }
  return vec3(0);
}
vec3 left(ivec2 at) { return eye(u_left, at, -1); }
vec3 right(ivec2 at) { return eye(u_right, at, 1); }
void main() {
  ivec2 size = textureSize(u_left, 0), at = ivec2(gl_FragCoord.xy);
  at.y = size.y - 1 - at.y; // textures begin at the top
  if (u_mode == 2) colour.rgb = anaglyph(left(at), right(at));
  else if (u_mode == 0 || (u_mode == 3 && at.x < size.x)) colour.rgb = left(at);
  else colour.rgb = right(ivec2(at.x % size.x, at.y));
  colour.a = 1.0;
}
`
const MODES = ["left", "right", "anaglyph", "sbs"]
const HOLES = ["black", "tint", "fill"]
const TABLE_SIDE = 256

/** The context that all previews share. */
export class Renderer {
  /** @throws {Error} if the browser has no WebGL2 */
  constructor() {
    this.canvas = document.createElement("canvas")
    const gl = this.canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false })
    if (!gl) throw new Error(say("webgl.absent"))
    this.gl = gl
    this.target = gl.createFramebuffer()
    /** @type {Map<string, WebGLProgram>} */
    this.programs = new Map()
    /** @type {Map<string, {texture: WebGLTexture, size: string}>} */
    this.passes = new Map() // pictures between passes, of the size of the last frame
    this.table = this.texture(gl.R32F, TABLE_SIDE, TABLE_SIDE)
  }

  /** Whether the browser has taken the context away; then a new renderer is needed. */
  get isLost() {
    return this.gl.isContextLost()
  }

  /**
   * Bring a frame and its depth to the GPU.
   * @param {TexImageSource} picture
   * @param {TexImageSource} depth the high byte in red, the low byte in green
   * @param {number} width
   * @param {number} height
   * @returns {Frame}
   */
  open(picture, depth, width, height) {
    return { width, height, picture: this.upload(picture), depth: this.upload(depth), views: {}, span: 0 }
  }

  /**
   * Render the views of a frame.
   * @param {Frame} frame
   * @param {Warp} warp
   */
  warp(frame, { table, reach, border, eyes }) {
    const { gl } = this
    const { width, height } = frame
    for (const eye of /** @type {Eye[]} */ (["left", "right"])) {
      if (eyes.includes(eye)) frame.views[eye] ??= this.texture(gl.RGBA8, width, height)
      else this.forget(frame, eye)
    }
    frame.span = Math.ceil(reach[1] - reach[0]) + 3
    gl.bindTexture(gl.TEXTURE_2D, this.table)
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, TABLE_SIDE, TABLE_SIDE, gl.RED, gl.FLOAT, table)
    const pass = (/** @type {string} */ name, /** @type {number} */ format) => {
      const size = `${width}x${height}`
      const before = this.passes.get(name)
      if (before?.size === size) return before.texture
      if (before) gl.deleteTexture(before.texture)
      const texture = this.texture(format, width, height)
      this.passes.set(name, { texture, size })
      return texture
    }
    const { depth: u_depth, picture: u_picture } = frame
    const u_disparity = pass("disparity", gl.R32UI)
    this.draw(DISPARITY, u_disparity, frame, { u_depth, u_table: this.table }, { u_border: border })
    for (const eye of eyes) {
      const u_outlined = pass("outlined", gl.RGBA32UI)
      const u_seen = pass("seen", gl.RG32UI)
      const bridged = pass("bridged", gl.RG32UI)
      const view = /** @type {WebGLTexture} */ (frame.views[eye])
      const numbers = { u_sign: eye === "right" ? -1 : 1, u_reach: reach }
      this.draw(OUTLINES, u_outlined, frame, { u_disparity, u_picture }, numbers)
      this.draw(SPLAT, u_seen, frame, { u_outlined }, numbers)
      this.draw(BRIDGE, bridged, frame, { u_outlined, u_seen }, numbers)
      this.draw(COLOURS, view, frame, { u_outlined, u_seen: bridged, u_picture }, numbers)
    }
  }

  /**
   * Draw the views of a frame on the shared canvas, which takes the picture's size.
   * @param {Frame} frame
   * @param {Mode} mode
   * @param {Holes} holes
   * @param {[number, number, number]} tint in [0, 1]
   * @returns {HTMLCanvasElement}
   */
  present(frame, mode, holes, tint) {
    const size = { width: frame.width * (mode === "sbs" ? 2 : 1), height: frame.height }
    if (this.canvas.width !== size.width) this.canvas.width = size.width
    if (this.canvas.height !== size.height) this.canvas.height = size.height
    const views = { u_left: frame.views.left ?? frame.picture, u_right: frame.views.right ?? frame.picture }
    const whole = { u_mode: MODES.indexOf(mode), u_holes: HOLES.indexOf(holes), u_span: frame.span }
    this.draw(PRESENT, null, size, views, { u_tint: tint }, whole)
    return this.canvas
  }

  /**
   * Free a frame.
   * @param {Frame} frame
   */
  close(frame) {
    for (const texture of [frame.picture, frame.depth]) this.gl.deleteTexture(texture)
    this.forget(frame, "left")
    this.forget(frame, "right")
  }

  /** Free everything, and give the context back. */
  dispose() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext()
    this.canvas.width = this.canvas.height = 0
  }

  /**
   * @param {Frame} frame
   * @param {Eye} eye
   */
  forget(frame, eye) {
    this.gl.deleteTexture(frame.views[eye] ?? null)
    delete frame.views[eye]
  }

  /**
   * Make an empty texture whose values are read as they are.
   * @param {number} format
   * @param {number} width
   * @param {number} height
   * @returns {WebGLTexture}
   */
  texture(format, width, height) {
    const { gl } = this
    const texture = /** @type {WebGLTexture} */ (this.nearest())
    gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height)
    return texture
  }

  /**
   * Bring a picture to the GPU, its bytes as they are.
   * @param {TexImageSource} picture
   * @returns {WebGLTexture}
   */
  upload(picture) {
    const { gl } = this
    const texture = /** @type {WebGLTexture} */ (this.nearest())
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE)
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, picture)
    return texture
  }

  /** Make and bind a texture that is never interpolated. */
  nearest() {
    const { gl } = this
    const texture = gl.createTexture()
    gl.bindTexture(gl.TEXTURE_2D, texture)
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST)
    }
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
      gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE)
    }
    return texture
  }

  /**
   * Run one pass.
   * @param {string} source the fragment shader
   * @param {WebGLTexture | null} target null: the canvas
   * @param {{width: number, height: number}} size
   * @param {Record<string, WebGLTexture>} textures
   * @param {Record<string, number | number[]>} numbers floats
   * @param {Record<string, number>} whole integers
   */
  draw(source, target, size, textures, numbers, whole = {}) {
    const { gl } = this
    const program = this.program(source)
    gl.bindFramebuffer(gl.FRAMEBUFFER, target && this.target)
    if (target) gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, target, 0)
    gl.viewport(0, 0, size.width, size.height)
    gl.useProgram(program)
    Object.entries(textures).forEach(([name, texture], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit)
      gl.bindTexture(gl.TEXTURE_2D, texture)
      gl.uniform1i(gl.getUniformLocation(program, name), unit)
    })
    gl.activeTexture(gl.TEXTURE0)
    for (const [name, value] of Object.entries(numbers)) {
      const location = gl.getUniformLocation(program, name)
      if (typeof value === "number") gl.uniform1f(location, value)
      else if (value.length === 2) gl.uniform2fv(location, value)
      else gl.uniform3fv(location, value)
    }
    for (const [name, value] of Object.entries(whole)) gl.uniform1i(gl.getUniformLocation(program, name), value)
    gl.drawArrays(gl.TRIANGLES, 0, 3)
  }

  /**
   * Return the program of a fragment shader, compiled once.
   * @param {string} source
   * @returns {WebGLProgram}
   */
  program(source) {
    const compiled = this.programs.get(source)
    if (compiled) return compiled
    const program = buildProgram(this.gl, VERTEX, source)
    this.programs.set(source, program)
    return program
  }
}

/** @type {Renderer | null} */
let shared = null
let users = 0

/**
 * Return the renderer that all previews share; `releaseRenderer` once for each call.
 * @throws {Error} if the browser has no WebGL2
 */
export function acquireRenderer() {
  shared ??= new Renderer()
  users++
  return shared
}

/** Give the shared renderer back; the last one to do so frees it. */
export function releaseRenderer() {
  users--
  if (users > 0) return
  shared?.dispose()
  shared = null
}

/**
 * Return the shared renderer, a new one if the browser has taken its context away.
 * @throws {Error} if the browser has no WebGL2 any more
 */
export function currentRenderer() {
  if (!shared || shared.isLost) shared = new Renderer()
  return shared
}
