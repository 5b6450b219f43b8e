// @ts-check
/**
 * What a node of ours says about its last run, such as which depth estimator ran and where the result was saved, below its
 * settings. The server sends it while the node runs, and results from the cache bring it again. It is shown by a widget of
 * our own in both of ComfyUI's renderers: Nodes 2.0 of some versions does not draw the one that ComfyUI makes for such
 * texts, since it is added while the node is there already.
 */

import { app } from "../../../scripts/app.js"
import { api } from "../../../scripts/api.js"
import { nodeAt } from "./shared/graph.mjs"

const PREFIX = "SpatialDreamer"
const TEXT_WIDGET = "spatialdreamer_text"
const COMFYUIS_WIDGET = "$$node-text-preview"
const LINE_HEIGHT = 18 // px
const MARGINS = 32 // px, beside the text together
const FONT = "12px sans-serif"

/** @type {WeakMap<object, HTMLElement>} */
const elements = new WeakMap()
/** @type {WeakMap<object, string>} */
const texts = new WeakMap() // the last of each node
/** @type {CanvasRenderingContext2D | null} */
let ruler = null

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
 * Write a node's last text onto it.
 * @param {any} node
 */
function showText(node) {
  const element = elements.get(node)
  if (!element) return
  element.textContent = texts.get(node) ?? ""
  removeWidgets(node, [COMFYUIS_WIDGET])
  const [width, height] = node.size
  node.setSize?.([width, Math.max(height, node.computeSize()[1])])
  node.setDirtyCanvas?.(true, true)
}

/**
 * Count the lines that a paragraph takes, broken between words, and inside a word that is longer than a line.
 * @param {string} paragraph
 * @param {number} width px
 * @param {CanvasRenderingContext2D} ruler
 */
function linesOf(paragraph, width, ruler) {
  let [lines, used] = [1, 0]
  for (const word of paragraph.split(/(?<=[\s-])/)) {
    const length = ruler.measureText(word.trimEnd()).width
    if (used + length > width && used > 0) [lines, used] = [lines + 1, 0]
    const more = Math.ceil(length / width) - 1
    if (more > 0) [lines, used] = [lines + more, -more * width]
    used += ruler.measureText(word).width
  }
  return lines
}

/**
 * Return the height of a node's text in pixels.
 * @param {any} node
 * @param {string} text
 */
function heightOf(node, text) {
  ruler ??= document.createElement("canvas").getContext("2d")
  if (!text || !ruler) return 0
  ruler.font = FONT
  const width = Math.max(1, node.size[0] - MARGINS)
  let lines = 0
  for (const paragraph of text.split("\n")) lines += linesOf(paragraph, width, ruler)
  return LINE_HEIGHT * lines + 6
}

/**
 * Read a text that the server has made safe for pages which take it for HTML.
 * @param {string} html
 */
function decode(html) {
  const page = new DOMParser().parseFromString(`<textarea>${html}`, "text/html") // nothing in it runs
  return page.querySelector("textarea")?.value ?? ""
}

app.registerExtension({
  name: "SpatialDreamer.NodeText",
  setup() {
    api.addEventListener("progress_text", (/** @type {any} */ { detail }) => {
      const node = nodeAt(app, detail.nodeId)
      if (!node?.comfyClass?.startsWith(PREFIX)) return
      texts.set(node, decode(detail.text))
      setTimeout(() => showText(node)) // after the page has made its widget, maybe after the result has brought a text
    })
  },
  nodeCreated(/** @type {any} */ node) {
    if (!node.comfyClass?.startsWith(PREFIX)) return
    const element = document.createElement("div")
    Object.assign(element.style, {
      font: FONT,
      lineHeight: `${LINE_HEIGHT}px`,
      color: "var(--input-text)",
      whiteSpace: "pre-line",
      overflowWrap: "anywhere",
      userSelect: "text",
    })
    const height = () => heightOf(node, element.textContent ?? "")
    const options = { serialize: false, hideOnZoom: false, getMinHeight: height, getMaxHeight: height }
    node.addDOMWidget(TEXT_WIDGET, "text_preview", element, options).serialize = false
    elements.set(node, element)
    const onExecuted = node.onExecuted
    node.onExecuted = function (/** @type {any[]} */ ...results) {
      const text = results[0]?.text
      if (Array.isArray(text) && text.length) {
        texts.set(this, text.join("\n"))
        showText(this)
      }
      return onExecuted?.apply(this, results)
    }
  },
})
