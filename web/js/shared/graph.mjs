// @ts-check
/**
 * Nodes by the ids of prompts. A prompt names a node inside subgraphs by the path of ids that leads to it, such as "5:3".
 */

/**
 * Return the graph that holds all others.
 * @param {any} app
 */
function rootOf(app) {
  return app.rootGraph ?? app.graph
}

/**
 * Return the node with an id of a prompt; null if it is gone.
 * @param {any} app
 * @param {unknown} id
 * @returns {any}
 */
export function nodeAt(app, id) {
  let graph = rootOf(app)
  let node = null
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part))
    graph = node?.subgraph
  }
  return node ?? null
}

/**
 * Return the id that a prompt has for a node; null if it is in no graph. Of a subgraph that is used twice it is the first
 * use.
 * @param {any} app
 * @param {any} node
 * @returns {string | null}
 */
export function promptIdOf(app, node) {
  /** @type {(graph: any, path: string) => string | null} */
  const find = (graph, path) => {
    for (const each of graph?.nodes ?? graph?._nodes ?? []) {
      if (each === node) return path + each.id
      const inside = each.subgraph && find(each.subgraph, `${path}${each.id}:`)
      if (inside) return inside
    }
    return null
  }
  return find(rootOf(app), "")
}

/**
 * Return the node that stands for a subgraph in the graph around it; null for the graph that holds all others.
 * @param {any} app
 * @param {any} graph
 * @returns {any}
 */
export function hostOf(app, graph) {
  /** @type {(around: any) => any} */
  const find = (around) => {
    for (const each of around?.nodes ?? around?._nodes ?? []) {
      if (!each.subgraph) continue
      if (each.subgraph === graph) return each
      const inside = find(each.subgraph)
      if (inside) return inside
    }
    return null
  }
  return graph === rootOf(app) ? null : find(rootOf(app))
}
