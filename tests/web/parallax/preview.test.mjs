import { describe, expect, it } from "vitest"

import { TARGET_ID, askingPrompt, reasonOf } from "../../../web/js/parallax/ask.mjs"
import { layOutBar } from "../../../web/js/parallax/comfort_bar.mjs"
import { readSettings } from "../../../web/js/parallax/widget_values.mjs"
import { hostOf, nodeAt, promptIdOf } from "../../../web/js/shared/graph.mjs"

/** A graph as ComfyUI's page has it, of nodes by id. */
function graphOf(nodes, links = {}) {
  const graph = { nodes, links: new Map(Object.entries(links).map(([id, link]) => [Number(id), link])) }
  graph.getNodeById = (id) => nodes.find((node) => String(node.id) === String(id)) ?? null
  for (const node of nodes) node.graph = graph
  return graph
}

/** The node whose preview it is; `linked` maps widgets to links. */
function warpNode(id, values, linked = {}) {
  const widgets = Object.entries(values).map(([name, value]) => ({ name, value }))
  const inputs = widgets.map(({ name }) => ({ name, widget: { name }, link: linked[name] ?? null }))
  return { id, widgets, inputs }
}

const RULES = { defaults: { divergence: 2.5, convergence: 0.5, border: "none", border_width: 5 } }

describe("ids of prompts", () => {
  const inner = { id: 3 }
  const host = { id: 5, subgraph: graphOf([{ id: 1 }, inner]) }
  const plain = { id: 3 }
  const app = { graph: graphOf([plain, host]) }

  it("lead to nodes inside subgraphs and back", () => {
    expect(nodeAt(app, "5:3")).toBe(inner)
    expect(nodeAt(app, 3)).toBe(plain)
    expect(promptIdOf(app, inner)).toBe("5:3")
    expect(promptIdOf(app, plain)).toBe("3")
    expect(hostOf(app, host.subgraph)).toBe(host)
    expect(hostOf(app, app.graph)).toBe(null)
  })

  it("lead nowhere where the node is gone", () => {
    expect(nodeAt(app, "5:9")).toBe(null)
    expect(nodeAt(app, "9:3")).toBe(null)
    expect(promptIdOf(app, { id: 7 })).toBe(null)
  })
})

describe("the values of widgets", () => {
  it("are read as they are, and from the last run where the node has no such widget", () => {
    const node = warpNode(1, { divergence: 4, border_width: 3 })
    const app = { graph: graphOf([node]) }
    const { settings, unknown } = readSettings(app, node, RULES, { convergence: 0.2 }, {})
    expect(settings).toEqual({ divergence: 4, convergence: 0.2, border: "ease", border_width: 3 })
    expect(unknown).toEqual([])
  })

  it("follow links to plain values, and are told of where another node makes them", () => {
    const node = warpNode(1, { divergence: 4, convergence: 0.5, border: "none" }, { divergence: 11, convergence: 12 })
    const primitive = { id: 2, type: "PrimitiveFloat", widgets: [{ name: "value", value: 7.5 }] }
    const maths = { id: 3, type: "MathExpression", widgets: [{ name: "value", value: 1 }] }
    const links = { 11: { origin_id: 2, origin_slot: 0 }, 12: { origin_id: 3, origin_slot: 0 } }
    const app = { graph: graphOf([node, primitive, maths], links) }
    const { settings, unknown } = readSettings(app, node, RULES, { convergence: 0.25 }, {})
    expect(settings.divergence).toBe(7.5)
    expect(settings.convergence).toBe(0.25)
    expect(unknown).toEqual(["convergence"])
  })

  it("come from the widgets of the subgraph that a node is in", () => {
    const node = warpNode(1, { divergence: 4, border: "none" }, { divergence: 11 })
    const subgraph = graphOf([node], { 11: { origin_id: -10, origin_slot: 0 } })
    const host = { ...warpNode(5, { strength: 9 }), subgraph }
    const app = { graph: graphOf([host]) }
    expect(readSettings(app, node, RULES, {}, {}).settings.divergence).toBe(9)
  })

  it("that take a run to be seen are named", () => {
    const node = warpNode(1, { divergence: 4, border: "none", edge_width: 5, depth: "auto" })
    const app = { graph: graphOf([node]) }
    expect(readSettings(app, node, RULES, {}, { edge_width: 3, depth: "auto" }).waiting).toEqual(["edge_width"])
  })
})

describe("asking for a frame", () => {
  const prompt = { 2: { class_type: "Convert", inputs: { video: ["1", 0], crf: 18, filler: ["4", 0], film: ["5", 0] } } }

  it("copies the node without what loads models for nothing, and leaves the node as it is", () => {
    const asked = askingPrompt(prompt, "2", 1.5)
    expect(asked[2]).toBe(prompt[2])
    const { spatialdreamer_preview: copy, [TARGET_ID]: target } = asked
    expect(copy.class_type).toBe("Convert")
    expect(copy.inputs).toEqual({
      video: ["1", 0],
      crf: 18,
      spatialdreamer_preview_of: "2",
      spatialdreamer_preview_at: 1.5,
    })
    expect(target.inputs.source).toEqual(["spatialdreamer_preview", 0])
  })

  it("says why it was refused", () => {
    const errors = [{ message: "bad", details: "divergence must be between 0 and 20" }]
    expect(reasonOf({ response: { error: { message: "no" }, node_errors: { 2: { errors } } } })).toBe(errors[0].details)
    expect(reasonOf({ response: { error: "prompt is empty" } })).toBe("prompt is empty")
    expect(reasonOf(new Error("offline"))).toBe("offline")
  })
})

describe("the bar of comfort", () => {
  it("has the screen in its middle and behind it on the left", () => {
    const bar = layOutBar({ farthest: -1, nearest: 2 }, { crossed: 3, uncrossed: 3 })
    expect(bar.isComfortable).toBe(true)
    expect(bar.comfortable[0] + bar.comfortable[1]).toBeCloseTo(100)
    expect(bar.range[0]).toBeLessThan(50)
    expect(bar.range[1]).toBeGreaterThan(50)
    expect(bar.text).toBe("now: nearest 2.0 % in front of the screen; farthest 1.0 % behind the screen (% of the width)")
  })

  it("says on which side it is too much, and always fits", () => {
    const bar = layOutBar({ farthest: -12, nearest: -3 }, { crossed: 3, uncrossed: 2.5 })
    expect(bar.isComfortable).toBe(false)
    expect(bar.text).toMatch(/more than is comfortable, over 2.5 % behind$/)
    expect(Math.min(...bar.range)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...bar.comfortable)).toBeLessThanOrEqual(100)
  })
})
