// @ts-check
/**
 * Puts a viewer on the nodes that give a stereo result: it shows live pictures while the node runs, then the result, in
 * place of what ComfyUI's page would show of either. What a viewer is set to is kept in the node's properties. The name of
 * a saved file takes dates and values of widgets, as the names of ComfyUI's own nodes do.
 */

import { app } from "../../../../scripts/app.js"
import { api } from "../../../../scripts/api.js"
import { applyTextReplacements } from "../../../../scripts/utils.js"
import { nodeAt } from "../shared/graph.mjs"
import { StereoViewer } from "./viewer.js"

const NODES = [
  "SpatialDreamerBatchConvert",
  "SpatialDreamerConvertVideo",
  "SpatialDreamerImageToStereo",
  "SpatialDreamerSBSPacker",
  "SpatialDreamerSaveStereoPhoto",
  "SpatialDreamerSaveStereoVideo",
]
const WIDGET = "spatialdreamer_viewer"
const PROPERTY = "spatialdreamer_viewer"
const CONTROLS = 80 // px, of the viewer's height
const MARGINS = 20 // px, around a widget of the canvas together
const SMALLEST = 90 // px, height of the picture

/** @type {Record<string, string>} */
const CANVAS_HANDLERS = {
  wheel: "processMouseWheel",
  pointerdown: "processMouseDown",
  pointermove: "processMouseMove",
  pointerup: "processMouseUp",
}

/** @type {WeakMap<object, StereoViewer>} */
const viewers = new WeakMap()
/** @type {Set<StereoViewer>} */
const live = new Set()

/**
 * What a node says of a file in the `stereo` of its output, see `nodes/viewer.py`.
 * @typedef {object} Entry
 * @property {{filename: string, subfolder: string, type: string}} file
 * @property {string} name
 * @property {string} note
 * @property {"video" | "image"} kind
 * @property {string} format
 * @property {boolean} swap
 * @property {number} aspect
 * @property {number} rate
 */

/**
 * Return the name under which the page keeps a node's result.
 * @param {any} node
 */
function keyOf(node) {
  return node.graph?.isRootGraph === false ? `${node.graph.id}:${node.id}` : String(node.id)
}

/**
 * Let a node's viewer show what the node has said of its result, and keep the page from showing it too, for which
 * `images` are there. Without any the page is left to it.
 * @param {any} node
 * @param {{stereo?: Entry[], [name: string]: unknown} | undefined} output
 */
function show(node, output) {
  const viewer = viewers.get(node)
  if (!viewer) return
  live.delete(viewer)
  const entries = Array.isArray(output?.stereo) ? output.stereo : []
  viewer.show(
    entries.map(({ file, name, note, kind, format, swap, aspect, rate }) => ({
      url: api.apiURL(`/view?${new URLSearchParams({ ...file, t: String(Date.now()) })}`),
      ...{ name, note, kind, rate },
      layout: { format, swap, aspect },
    })),
  )
  if (entries.length) {
    const { images, animated, ...rest } = output ?? {}
    for (const kept of [app.nodeOutputs, pageStore()?.nodeOutputs]) if (kept?.[keyOf(node)]) kept[keyOf(node)] = rest
  }
  grow(node)
}

/**
 * Let a node's viewer show a result that the page has kept.
 * @param {any} node
 * @param {Record<string, any> | undefined} outputs
 */
function showKept(node, outputs) {
  const output = outputs?.[keyOf(node)]
  if (output?.stereo) show(node, output)
}

/**
 * Make a node as high as what it shows needs it.
 * @param {any} node
 */
function grow(node) {
  const [width, height] = node.size
  node.setSize?.([width, Math.max(height, node.computeSize()[1])])
  node.setDirtyCanvas?.(true, true)
}

/**
 * Return the page's store of results and live pictures, from which Nodes 2.0 draws.
 * @returns {any}
 */
function pageStore() {
  const page = /** @type {any} */ (document.getElementById("vue-app"))
  return page?.__vue_app__?.config?.globalProperties?.$pinia?._s?.get("nodeOutput")
}

/**
 * Keep the page from showing a live picture that the viewer shows; tell whether that could be done.
 * @param {any} node
 */
function takeLivePicture(node) {
  const store = pageStore()
  if (store?.removeNodeOutputsForNode) store.removeNodeOutputsForNode(node)
  else if (store?.removeNodeOutputs) store.removeNodeOutputs(node.id)
  else return false
  return true
}

/** Show results in place of live pictures, as a run has ended. */
function endLivePictures() {
  for (const viewer of live) viewer.endLive()
  live.clear()
}

/**
 * Put a viewer on a node.
 * @param {any} node
 */
function addViewer(node) {
  const viewer = new StereoViewer({
    read: () => node.properties?.[PROPERTY] ?? {},
    write: (settings) => {
      if (Object.keys(settings).length) node.properties[PROPERTY] = settings
      else delete node.properties[PROPERTY]
    },
    passOn: (event) => {
      // In Nodes 2.0 the page hears of it through the node.
      if (!(/** @type {any} */ (window).LiteGraph.vueNodesMode)) app.canvas[CANVAS_HANDLERS[event.type]]?.(event)
    },
  })
  viewers.set(node, viewer)
  const smallest = () => {
    if (!viewer.isShowing) return 0
    const picture = (node.size[0] - MARGINS) / viewer.aspect
    return MARGINS + CONTROLS + Math.max(SMALLEST, Math.round(picture))
  }
  const largest = () => (viewer.isShowing ? undefined : 0)
  const options = { serialize: false, hideOnZoom: false, getMinHeight: smallest, getMaxHeight: largest }
  node.addDOMWidget(WIDGET, "stereo_viewer", viewer.root, options).serialize = false
  const { onExecuted, onRemoved } = node
  node.onExecuted = function (/** @type {any[]} */ ...results) {
    show(this, results[0])
    return onExecuted?.apply(this, results)
  }
  node.onRemoved = function (/** @type {any[]} */ ...given) {
    live.delete(viewer)
    viewer.close()
    return onRemoved?.apply(this, given)
  }
}

const style = document.createElement("link")
style.rel = "stylesheet"
style.href = new URL("./viewer.css", import.meta.url).href
document.head.append(style)

app.registerExtension({
  name: "SpatialDreamer.Viewer",
  setup() {
    api.addEventListener("b_preview_with_metadata", (/** @type {any} */ { detail }) => {
      const node = nodeAt(app, detail.displayNodeId)
      const viewer = node && viewers.get(node)
      if (!viewer || !takeLivePicture(node)) return
      live.add(viewer)
      viewer.showLive(detail.blob)
      grow(node)
    })
    for (const end of ["execution_success", "execution_error", "execution_interrupted"])
      api.addEventListener(/** @type {any} */ (end), endLivePictures)
  },
  nodeCreated(/** @type {any} */ node) {
    if (!NODES.includes(node.comfyClass)) return
    const prefix = node.widgets?.find((/** @type {any} */ widget) => widget.name === "filename_prefix")
    if (prefix) prefix.serializeValue = () => applyTextReplacements(app, prefix.value)
    addViewer(node)
  },
  loadedGraphNode(/** @type {any} */ node) {
    showKept(node, app.nodeOutputs) // an undo makes all nodes anew
  },
  onNodeOutputsUpdated(/** @type {Record<string, any>} */ outputs) {
    // A workflow's tab is opened again, or one is loaded together with its results.
    for (const node of /** @type {any} */ (app.canvas?.graph)?.nodes ?? []) showKept(node, outputs)
  },
})
