// @ts-check
/**
 * What our nodes say stands on them below their settings, in both of ComfyUI's renderers: Nodes 2.0 of some versions does
 * not draw the widget that ComfyUI makes for such texts, since it is added while the node is there already.
 */

import { app } from "../../../scripts/app.js"
import { api } from "../../../scripts/api.js"

const PREFIX = "SpatialDreamer"
const TEXT_WIDGET = "spatialdreamer_text"
const COMFYUIS_WIDGET = "$$node-text-preview"
const LINE_HEIGHT = 18
const CHARACTER_WIDTH = 6.5
const MARGIN = 24

/** @type {WeakMap<object, HTMLElement>} */
const texts = new WeakMap()

/**
 * Remove widgets of some names.
 * @param {any} node
 * @param {string[]} names
 */
export function removeWidgets(node, names) {
  for (const name of names) {
    const index = node.widgets?.findIndex((/** @type {any} */ widget) => widget.name === name) ?? -1
    if (index < 0) continue
    node.widgets[index].onRemove?.()
    node.widgets.splice(index, 1)
  }
}

/**
 * Write a text onto a node of ours; it replaces the last one.
 * @param {any} node
 * @param {string} text
 */
export function showText(node, text) {
  const element = texts.get(node)
  if (!element) return
  element.textContent = text
  removeWidgets(node, [COMFYUIS_WIDGET])
  const [width, height] = node.size
  node.setSize?.([width, Math.max(height, node.computeSize()[1])])
  node.setDirtyCanvas?.(true, true)
}

/**
 * Return the height of a node's text in pixels.
 * @param {any} node
 * @param {string} text
 */
function heightOf(node, text) {
  if (!text) return 0
  const perLine = Math.max(10, (node.size[0] - MARGIN) / CHARACTER_WIDTH)
  const lines = text.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / perLine)), 0)
  return LINE_HEIGHT * lines + 6
}

app.registerExtension({
  name: "SpatialDreamer.NodeText",
  setup() {
    api.addEventListener("progress_text", (/** @type {any} */ { detail }) => {
      const node = app.graph.getNodeById(detail.nodeId)
      if (node) showText(node, detail.text)
    })
  },
  nodeCreated(/** @type {any} */ node) {
    if (!node.comfyClass?.startsWith(PREFIX)) return
    const element = document.createElement("div")
    Object.assign(element.style, {
      font: "12px sans-serif",
      lineHeight: `${LINE_HEIGHT}px`,
      color: "var(--input-text)",
      whiteSpace: "pre-line",
      overflowWrap: "anywhere",
      userSelect: "text",
    })
    const height = () => heightOf(node, element.textContent ?? "")
    const options = { serialize: false, hideOnZoom: false, getMinHeight: height, getMaxHeight: height }
    node.addDOMWidget(TEXT_WIDGET, "text_preview", element, options).serialize = false
    texts.set(node, element)
  },
})
