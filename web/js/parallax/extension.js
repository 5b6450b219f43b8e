// @ts-check
/**
 * Puts the live preview on the nodes that warp: DVG Forward Warp shows a frame of its last run, Video and Image to
 * Stereo 3D show one as soon as a run knows its depth, and a button of theirs asks for the depth of one frame alone.
 */

import { app } from "../../../../scripts/app.js"
import { api } from "../../../../scripts/api.js"
import { nodeAt } from "../shared/graph.mjs"

/** How a node counts the frame that its button asks for; "" for one without a button. */
const NODES = /** @type {Record<string, "" | "seconds" | "frames">} */ ({
  SpatialDreamerDVGForwardWarp: "",
  SpatialDreamerConvertVideo: "seconds",
  SpatialDreamerImageToStereo: "frames",
})
const EVENT = "spatialdreamer_parallax" // also the key of a node's output, see nodes/parallax.py
const PROPERTY = "spatialdreamer_parallax"
const WIDGET = "spatialdreamer_parallax"
const MOST_KEPT = 50 // messages

/** @typedef {import("./panel.mjs").Message} Message */
/** @typedef {{show: (message: Message) => void, dispose: () => void}} Preview */

/** @type {WeakMap<object, Preview>} */
const previews = new WeakMap()
/** @type {Map<string, Message>} */
const kept = new Map() // the last message of each node, for when the page makes its nodes anew, as it does on an undo

/**
 * Name a node beyond the life of its object.
 * @param {any} node
 */
function keyOf(node) {
  const path = app.extensionManager?.workflow?.activeWorkflow?.path ?? ""
  return [path, node.graph?.isRootGraph === false ? node.graph.id : "", node.id, node.comfyClass].join("|")
}

/**
 * Show a frame on a node.
 * @param {any} node
 * @param {Message | undefined} message
 */
function show(node, message) {
  const preview = node && previews.get(node)
  if (!preview || !message?.depth) return
  const key = keyOf(node)
  kept.delete(key)
  kept.set(key, message)
  if (kept.size > MOST_KEPT) kept.delete(/** @type {string} */ (kept.keys().next().value))
  preview.show(message)
}

/** @type {WeakMap<object, number>} */
const heights = new WeakMap() // that were given to nodes here

/**
 * Make a node as high as its widgets need it; less high again if its height is none that a user has chosen.
 * @param {any} node
 */
function fitHeight(node) {
  if (!node.graph) return
  const [width, height] = node.size
  const needed = node.computeSize()[1]
  if (needed > height || (needed < height && heights.get(node) === height)) {
    node.setSize([width, needed])
    heights.set(node, node.size[1])
  }
  node.setDirtyCanvas?.(true, true)
}

/**
 * Keep what the user chooses in the node's properties, which are saved with the workflow.
 * @param {any} node
 * @returns {import("./panel_elements.mjs").Choices}
 */
function keptIn(node) {
  return new Proxy(/** @type {any} */ ({}), {
    get: (_, name) => node.properties[PROPERTY]?.[name],
    set: (_, name, value) => {
      node.properties[PROPERTY] = { ...node.properties[PROPERTY], [name]: value }
      return true
    },
  })
}

/**
 * Put a preview on a node.
 * @param {any} node
 */
function addPreview(node) {
  const root = document.createElement("div")
  const inner = document.createElement("div")
  Object.assign(inner.style, { display: "flex", flexDirection: "column", gap: "4px" })
  root.append(inner)
  root.addEventListener("wheel", (event) => {
    // The canvas zooms wherever the pointer is; Nodes 2.0 sees to it itself.
    if (!(/** @type {any} */ (window).LiteGraph.vueNodesMode)) app.canvas.processMouseWheel(event)
  })
  let height = 0 // the last one that was seen: what is not drawn has none
  const measure = () => (height = inner.offsetHeight || height)
  const options = { serialize: false, hideOnZoom: false, getMinHeight: measure, getMaxHeight: measure }
  node.addDOMWidget(WIDGET, "parallax_preview", root, options).serialize = false
  const unit = NODES[node.comfyClass]
  let isGone = false
  /** @type {Promise<import("./panel.mjs").ParallaxPanel> | null} */
  let panel = null
  const open = async () => {
    const [{ ParallaxPanel }, { readSettings }] = await Promise.all([
      import("./panel.mjs"),
      import("./widget_values.mjs"),
    ])
    const made = new ParallaxPanel({
      kept: keptIn(node),
      read: ({ rules, values, fixed }) => readSettings(app, node, rules, values, fixed),
      labelOf: (name) => node.widgets.find((/** @type {any} */ widget) => widget.name === name)?.label ?? name,
      urlOf: (file) => api.apiURL(`/view?${new URLSearchParams(/** @type {any} */ (file))}`),
      onResize: () => fitHeight(node),
    })
    if (isGone) made.dispose()
    else inner.append(made.root)
    return made
  }
  previews.set(node, {
    show: (message) => {
      panel ??= open()
      panel.then((opened) => opened.show(message))
    },
    dispose: () => {
      isGone = true
      panel?.then((opened) => opened.dispose())
    },
  })
  if (unit) import("./ask.mjs").then(({ makeAsk }) => isGone || inner.prepend(makeAsk({ app, api, node, unit })))
}

app.registerExtension({
  name: "SpatialDreamer.ParallaxPreview",
  setup() {
    api.addEventListener(EVENT, (/** @type {any} */ { detail }) => {
      const node = nodeAt(app, detail.node)
      if (node?.comfyClass in NODES) show(node, detail)
    })
  },
  nodeCreated(/** @type {any} */ node) {
    if (!(node.comfyClass in NODES)) return
    addPreview(node)
    const { onExecuted, onRemoved, onConfigure } = node
    node.onExecuted = function (/** @type {any[]} */ ...results) {
      show(this, results[0]?.[EVENT]?.[0])
      return onExecuted?.apply(this, results)
    }
    node.onConfigure = function (/** @type {any[]} */ ...configuration) {
      setTimeout(() => show(this, kept.get(keyOf(this)))) // after the node is in its graph
      return onConfigure?.apply(this, configuration)
    }
    node.onRemoved = function (/** @type {any[]} */ ...rest) {
      previews.get(this)?.dispose()
      previews.delete(this)
      return onRemoved?.apply(this, rest)
    }
  },
})
