// @ts-check
/**
 * What a node's widgets say now: the settings of the preview. A widget may take its value from another node; where that
 * is a plain value the page can see it, and else the last run's is taken and named.
 */

import { hostOf } from "../shared/graph.mjs"

/** @typedef {import("./geometry.mjs").Settings} Settings */
/** @typedef {import("./geometry.mjs").Rules} Rules */

/**
 * @typedef {object} Reading
 * @property {Settings} settings
 * @property {string[]} unknown names of widgets whose values come from other nodes
 * @property {string[]} waiting names of widgets that were changed and are seen after the next run alone
 */

const MOST_STEPS = 20 // of links that are followed

/**
 * Read a node's settings.
 * @param {any} app
 * @param {any} node
 * @param {Rules} rules
 * @param {Record<string, any>} last the values of the run that the preview is of
 * @param {Record<string, any>} fixed those of widgets that the preview cannot follow
 * @returns {Reading}
 */
export function readSettings(app, node, rules, last, fixed) {
  const settings = /** @type {any} */ ({ ...rules.defaults, ...last })
  const unknown = []
  for (const name of Object.keys(rules.defaults)) {
    const found = valueOf(app, node, name)
    if (found === UNSEEN) unknown.push(name)
    else if (found !== undefined) settings[name] = found
  }
  if (!widgetOf(node, "border")) settings.border = settings.border_width > 0 ? "ease" : "none" // as DVG Forward Warp
  const waiting = Object.keys(fixed).filter((name) => {
    const found = valueOf(app, node, name)
    return found !== undefined && found !== UNSEEN && found !== fixed[name]
  })
  return { settings, unknown, waiting }
}

const UNSEEN = Symbol("a value that another node makes")

/**
 * Return the value of a widget; undefined if the node has no such one.
 * @param {any} app
 * @param {any} node
 * @param {string} name
 */
function valueOf(app, node, name) {
  const slot = node.inputs?.find((/** @type {any} */ input) => input.widget?.name === name)
  if (slot?.link == null) return widgetOf(node, name)?.value
  let [graph, link] = [node.graph, slot.link]
  for (let step = 0; step < MOST_STEPS; step++) {
    const { origin_id, origin_slot } = linkOf(graph, link) ?? {}
    const origin = graph?.getNodeById?.(origin_id)
    if (origin) return String(origin.type).startsWith("Primitive") ? origin.widgets?.[0]?.value : UNSEEN
    const host = hostOf(app, graph) // the link comes from the subgraph's own input
    const input = host?.inputs?.[origin_slot]
    if (!input) return UNSEEN
    if (input.link == null) return widgetOf(host, input.widget?.name ?? input.name)?.value ?? UNSEEN
    graph = host.graph
    link = input.link
  }
  return UNSEEN
}

/**
 * @param {any} node
 * @param {string} name
 */
function widgetOf(node, name) {
  return node.widgets?.find((/** @type {any} */ widget) => widget.name === name)
}

/**
 * @param {any} graph
 * @param {number} id
 */
function linkOf(graph, id) {
  return graph?.getLink?.(id) ?? graph?.links?.get?.(id) ?? graph?.links?.[id]
}
