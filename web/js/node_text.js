// @ts-check
/**
 * What a node says about its last run, such as which depth estimator ran. The server sends it while the node runs, and
 * ComfyUI's page shows it below the widgets; here it is shown for results from the cache too, and the older renderer
 * gets room for all of its lines.
 */

import { app } from "../../../scripts/app.js"
import { api } from "../../../scripts/api.js"

const PREFIX = "SpatialDreamer"
const WIDGET = "$$node-text-preview"
const LINE_HEIGHT = 16 // px, of the page's small print
const PADDING = 32 // px, above and below the text together
const MARGINS = 56 // px, beside the text together

/** @type {CanvasRenderingContext2D | null} */
let ruler = null

/**
 * Count the lines that a text takes; the page breaks them at any letter.
 * @param {string} text
 * @param {number} width in px
 */
function countLines(text, width) {
  ruler ??= document.createElement("canvas").getContext("2d")
  if (!ruler) return 1
  ruler.font = "12px Inter, Arial, sans-serif"
  let lines = 0
  for (const line of text.split("\n")) lines += Math.max(1, Math.ceil(ruler.measureText(line).width / width))
  return lines
}

/**
 * Give a node's text the height that it needs; Nodes 2.0 does so by itself.
 * @param {any} node
 */
function makeRoom(node) {
  const widget = node?.widgets?.find((/** @type {any} */ one) => one.name === WIDGET)
  if (!widget?.options || /** @type {any} */ (window).LiteGraph?.vueNodesMode) return
  const decoder = document.createElement("textarea") // never on the page: nothing in it runs
  decoder.innerHTML = String(widget.value)
  const text = decoder.value
  const needed = () => LINE_HEIGHT * countLines(text, Math.max(1, node.size[0] - MARGINS)) + PADDING
  widget.options.getMinHeight = needed
  widget.options.getMaxHeight = needed // what is left of the node is for its pictures
  const height = node.computeSize()[1]
  if (node.size[1] < height) node.setSize([node.size[0], height])
  node.setDirtyCanvas?.(true, true)
}

/**
 * Return the node on the canvas with an id of a prompt, which inside a subgraph is a path of ids.
 * @param {unknown} id
 */
function findNode(id) {
  const last = String(id).split(":").pop()
  const node = app.canvas?.graph?.getNodeById(last)
  return node?.comfyClass?.startsWith(PREFIX) ? node : null
}

app.registerExtension({
  name: "SpatialDreamer.NodeText",
  setup() {
    api.addEventListener("progress_text", (/** @type {any} */ { detail }) => {
      const id = detail.nodeId
      setTimeout(() => makeRoom(findNode(id))) // after the page has made the widget
    })
  },
  nodeCreated(/** @type {any} */ node) {
    if (!node.comfyClass?.startsWith(PREFIX)) return
    const onExecuted = node.onExecuted
    node.onExecuted = function (/** @type {unknown[]} */ ...results) {
      const text = /** @type {any} */ (results[0])?.text?.[0]
      if (typeof text === "string" && text) {
        const escaped = text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;")
        const detail = { nodeId: String(this.id), text: escaped }
        api.dispatchEvent(new CustomEvent("progress_text", { detail }))
      }
      return onExecuted?.apply(this, results)
    }
  },
})
