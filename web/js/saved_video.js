// @ts-check
/**
 * The nodes that save a video show it when it is done, and Video to Stereo 3D shows live pictures while it runs. ComfyUI's
 * page keeps the last live picture in place of the video, and a video in place of later live pictures; here each gives
 * way to the other. The name of the file takes dates and values of widgets, as the names of ComfyUI's own nodes do.
 */

import { app } from "../../../scripts/app.js"
import { api } from "../../../scripts/api.js"
import { applyTextReplacements } from "../../../scripts/utils.js"
import { findNode, removeWidgets } from "./node_text.js"

const SHOWS_LIVE_PICTURES = "SpatialDreamerConvertVideo"
const NODES = [SHOWS_LIVE_PICTURES, "SpatialDreamerSaveStereoVideo"]
const PICTURE_WIDGETS = ["$$canvas-image-preview", "$$comfy_animation_preview"]
const VIDEO_WIDGET = "video-preview"
const H264 = 'video/mp4; codecs="avc1.640028"'

/**
 * Remove what a node has in one of ComfyUI's stores; inside a subgraph the key ends in the node's id.
 * @param {Record<string, unknown> | undefined} store
 * @param {any} node
 */
function forget(store, node) {
  if (!store) return
  for (const key of Object.keys(store)) {
    if (key === String(node.id) || key.endsWith(`:${node.id}`)) delete store[key]
  }
}

/**
 * Return the store from which Nodes 2.0 draws live pictures: it sees what is deleted there, not what is deleted in the
 * plain object behind it.
 * @returns {any}
 */
function pageStore() {
  const page = /** @type {any} */ (document.getElementById("vue-app"))
  return page?.__vue_app__?.config?.globalProperties?.$pinia?._s?.get("nodeOutput")
}

/**
 * Make room for the video.
 * @param {any} node
 */
function dropPicture(node) {
  forget(app.nodePreviewImages, node)
  forget(pageStore()?.nodePreviewImages, node)
  node.imgs = undefined
  removeWidgets(node, PICTURE_WIDGETS)
}

/**
 * Make room for live pictures.
 * @param {any} node
 */
function dropVideo(node) {
  forget(app.nodeOutputs, node)
  node.videoContainer = undefined
  node.previewMediaType = undefined
  removeWidgets(node, [VIDEO_WIDGET])
}

/**
 * Add to what a node says of its run why no video is seen, where that is the browser's doing.
 * @param {any} output
 */
function explainMissingVideo(output) {
  if (!output?.text || document.createElement("video").canPlayType(H264)) return output
  return { ...output, text: [...output.text, "not shown here: this browser plays no H.264; open the file in a player"] }
}

/**
 * Keep out live pictures that have been loaded only after the video has come.
 * @param {any} node
 */
function refuseLatePictures(node) {
  /** @type {HTMLImageElement[] | undefined} */
  let shown = node.imgs
  Object.defineProperty(node, "imgs", {
    configurable: true,
    enumerable: true,
    get: () => shown,
    set(pictures) {
      const live = pictures?.some((/** @type {any} */ picture) => picture.src?.startsWith("blob:"))
      shown = live && node.previewMediaType === "video" ? undefined : pictures
    },
  })
}

app.registerExtension({
  name: "SpatialDreamer.SavedVideo",
  setup() {
    api.addEventListener("b_preview_with_metadata", (/** @type {any} */ { detail }) => {
      const node = findNode(detail.displayNodeId)
      if (NODES.includes(node?.comfyClass) && node.videoContainer) dropVideo(node)
    })
  },
  nodeCreated(/** @type {any} */ node) {
    if (!NODES.includes(node.comfyClass)) return
    const prefix = node.widgets?.find((/** @type {any} */ widget) => widget.name === "filename_prefix")
    if (prefix) prefix.serializeValue = () => applyTextReplacements(app, prefix.value)
    // Nodes 2.0 of 0.3.75 takes what a node without a VIDEO input saved for a picture.
    if (node.comfyClass !== SHOWS_LIVE_PICTURES) node.previewMediaType = "video"
    refuseLatePictures(node)
    const onExecuted = node.onExecuted
    node.onExecuted = function (/** @type {any[]} */ ...results) {
      dropPicture(this)
      this.previewMediaType = "video"
      return onExecuted?.call(this, explainMissingVideo(results[0]), ...results.slice(1)) // the inner one shows the text
    }
  },
})
