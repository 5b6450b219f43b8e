// @ts-check
/**
 * Settings of the pack in ComfyUI's own dialog: the values with which new nodes begin. Nodes of opened workflows, and copies,
 * keep the values that they were saved with. Names and tooltips are in `locales/`.
 */

import { app } from "../../../scripts/app.js"

const PREFIX = "SpatialDreamer"
/** What each node has by itself: a setting that says the same leaves it alone. */
const OWN = { format: "full_sbs", divergence: 2.5, eye: "right" }

/** @type {{id: string, widget: keyof typeof OWN, setting: object}[]} */
const SETTINGS = [
  {
    id: `${PREFIX}.NewNodes.Format`,
    widget: "format",
    setting: {
      name: "Format of new nodes",
      tooltip: "How the two views share a frame. A node that does not offer the format keeps its own.",
      type: "combo",
      options: [
        ...["full_sbs", "half_sbs", "full_tb", "half_tb", "cross_eyed", "anaglyph"],
        ...["row_interlaced", "column_interlaced", "checkerboard", "frame_sequential"],
        ...["rgbd", "vr180", "quilt"], // not wiggle, which is for photos alone
      ],
    },
  },
  {
    id: `${PREFIX}.NewNodes.Divergence`,
    widget: "divergence",
    setting: {
      name: "3D strength of new nodes (divergence)",
      tooltip: "Total disparity range between the two eyes, 0 to 20 % of the width. 1 to 3 suits most screens.",
      type: "number",
      attrs: { min: 0, max: 20, step: 0.1, showButtons: true, maxFractionDigits: 2 },
    },
  },
  {
    id: `${PREFIX}.NewNodes.Eye`,
    widget: "eye",
    setting: {
      name: "Rendered eye of new nodes",
      tooltip: "Which view is rendered; the source is the other one. A node that does not offer both keeps its own.",
      type: "combo",
      options: ["right", "left", "both"],
    },
  },
]

/**
 * Tell whether a widget can have a value.
 * @param {any} widget
 * @param {unknown} value
 */
function offers(widget, value) {
  const { values, min, max } = widget.options ?? {}
  if (Array.isArray(values)) return values.includes(value)
  return typeof value === "number" && value >= min && value <= max
}

app.registerExtension({
  name: "SpatialDreamer.Settings",
  settings: SETTINGS.map(({ id, widget, setting }, index) => ({
    id,
    sortOrder: SETTINGS.length - index, // the dialog shows the highest first
    category: [PREFIX, "New nodes", id.split(".")[2]],
    defaultValue: OWN[widget],
    ...setting,
  })),
  nodeCreated(/** @type {any} */ node) {
    if (app.configuringGraph || !node.comfyClass?.startsWith(PREFIX)) return
    for (const { id, widget: name } of SETTINGS) {
      const value = app.extensionManager.setting.get(id)
      const widget = node.widgets?.find((/** @type {any} */ entry) => entry.name === name)
      if (widget && value !== OWN[name] && offers(widget, value)) widget.value = value
    }
  },
})
