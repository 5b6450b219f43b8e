// @ts-check
/**
 * The dark room in which a headset shows a stereo picture or film: a mesh for each eye, which only that eye sees. three.js
 * gives the left eye layer 1 and the right eye layer 2.
 */

import {
  BufferGeometry,
  CanvasTexture,
  Color,
  DoubleSide,
  Float32BufferAttribute,
  LinearMipmapLinearFilter,
  Mesh,
  MeshBasicMaterial,
  PerspectiveCamera,
  Scene,
  SRGBColorSpace,
  VideoTexture,
  WebGLRenderer,
} from "../../vendor/three/three.module.min.mjs"
import { say } from "../shared/words.mjs"
import { RADIUS, flatScreen, halfSphere, withinPixels } from "./screen.mjs"

/** @typedef {import("../viewer/layouts.js").VRRequest} VRRequest */
/** @typedef {import("../viewer/layouts.js").Rect} Rect */

const LAYERS = /** @type {const} */ ({ left: 1, right: 2 })
const WHOLE = { x: 0, y: 0, width: 1, height: 1 }

/**
 * Cut an eye's view out of a still picture. By itself it can have smaller copies (mipmaps), without which fine detail
 * flickers with each move of the head.
 * @param {HTMLImageElement | HTMLCanvasElement} source
 * @param {Rect} rect
 * @param {number} limit the largest side that a texture may have, in pixels
 */
function stillTexture(source, rect, limit) {
  const [width, height] = sizeOf(source)
  const [x, y] = [rect.x * width, rect.y * height]
  const [across, down] = [rect.width * width, rect.height * height]
  const scale = Math.min(1, limit / across, limit / down)
  const canvas = document.createElement("canvas")
  canvas.width = Math.round(across * scale)
  canvas.height = Math.round(down * scale)
  const context = canvas.getContext("2d")
  if (!context) throw new Error(say("vr.not_drawn"))
  context.imageSmoothingQuality = "high"
  context.drawImage(source, x, y, across, down, 0, 0, canvas.width, canvas.height)
  const texture = new CanvasTexture(canvas)
  texture.minFilter = LinearMipmapLinearFilter
  return texture
}

/**
 * Return the size of a picture in its own pixels.
 * @param {VRRequest["source"]} source
 * @returns {[number, number]}
 */
function sizeOf(source) {
  if (source instanceof HTMLVideoElement) return [source.videoWidth, source.videoHeight]
  if (source instanceof HTMLImageElement) return [source.naturalWidth, source.naturalHeight]
  return [source.width, source.height]
}

/**
 * Build the room; `renderer.xr.setSession` starts it.
 * @param {Pick<VRRequest, "source" | "layout" | "eyes">} request
 * @throws {Error} where the picture has not been loaded, or the browser has no WebGL
 */
export function buildTheatre({ source, layout, eyes }) {
  const [width, height] = sizeOf(source)
  if (!width) throw new Error(say("vr.not_loaded"))
  const renderer = new WebGLRenderer({ antialias: true })
  const scene = new Scene()
  scene.background = new Color(0x000000)
  const camera = new PerspectiveCamera(50, 1, 0.05, 2 * RADIUS)
  /** @type {{ dispose(): void }[]} */
  const parts = []

  const film = source instanceof HTMLVideoElement ? new VideoTexture(source) : null
  if (film) film.needsUpdate = true // else a film that is paused has no picture until it plays
  for (const eye of /** @type {const} */ (["left", "right"])) {
    const texture = film ?? stillTexture(/** @type {any} */ (source), eyes[eye], renderer.capabilities.maxTextureSize)
    texture.colorSpace = SRGBColorSpace
    texture.anisotropy = renderer.capabilities.getMaxAnisotropy()
    const rect = film ? withinPixels(eyes[eye], width, height) : WHOLE
    const { positions, places, triangles } = layout.format === "vr180" ? halfSphere(rect) : flatScreen(layout.aspect, rect)
    const geometry = new BufferGeometry()
    geometry.setAttribute("position", new Float32BufferAttribute(positions, 3))
    geometry.setAttribute("uv", new Float32BufferAttribute(places, 2))
    geometry.setIndex(triangles)
    const material = new MeshBasicMaterial({ map: texture, side: DoubleSide, toneMapped: false })
    const mesh = new Mesh(geometry, material)
    mesh.layers.set(LAYERS[eye])
    scene.add(mesh)
    parts.push(texture, geometry, material)
  }

  renderer.xr.enabled = true
  renderer.xr.setReferenceSpaceType("local")
  renderer.setAnimationLoop(() => renderer.render(scene, camera))

  const free = () => {
    renderer.setAnimationLoop(null)
    for (const part of parts) part.dispose()
    renderer.dispose()
    renderer.forceContextLoss()
  }
  return { renderer, free }
}
