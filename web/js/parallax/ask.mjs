// @ts-check
/**
 * "Preview a frame": queues the depth of one frame of a video or batch, without a conversion. The prompt is the one of a
 * run with two nodes more, a copy of the node that asks and an output, as only what leads to one is executed. Nothing else
 * is, so what ComfyUI keeps of the last run stays. See `nodes/parallax.py`.
 */

import { promptIdOf } from "../shared/graph.mjs"
import { say } from "../shared/words.mjs"
import { colour, makeButton } from "./panel_elements.mjs"

const PREVIEW_ID = "spatialdreamer_preview"
export const TARGET_ID = "spatialdreamer_preview_shown"
const ASKS_FOR = "spatialdreamer_preview_of"
const ASKS_AT = "spatialdreamer_preview_at"
const NOT_NEEDED = ["filler", "film", "state"] // inputs that one frame's depth has no use for

/**
 * Return the prompt that asks for a frame.
 * @param {Record<string, any>} prompt the prompt of a run
 * @param {string} id the node's
 * @param {number} at seconds, or the frame's number from 1 on
 * @returns {Record<string, any>}
 */
export function askingPrompt(prompt, id, at) {
  const inputs = { ...prompt[id].inputs, [ASKS_FOR]: id, [ASKS_AT]: at }
  for (const name of NOT_NEEDED) delete inputs[name]
  const target = { class_type: "PreviewAny", inputs: { source: [PREVIEW_ID, 0] } }
  return { ...prompt, [PREVIEW_ID]: { ...prompt[id], inputs }, [TARGET_ID]: target }
}

/**
 * Say in a line why a prompt was refused.
 * @param {any} error
 * @returns {string}
 */
export function reasonOf(error) {
  const answer = error?.response
  const details = Object.values(answer?.node_errors ?? {}).flatMap((/** @type {any} */ node) =>
    (node.errors ?? []).map((/** @type {any} */ each) => each.details || each.message),
  )
  const reason = answer?.error
  return details.join("; ") || reason?.details || reason?.message || reason || error?.message || String(error)
}

/**
 * Make the button with its number.
 * @param {{app: any, api: any, node: any, unit: "seconds" | "frames"}} page
 * @returns {HTMLElement}
 */
export function makeAsk({ app, api, node, unit }) {
  const row = document.createElement("div")
  Object.assign(row.style, {
    ...{ display: "flex", gap: "6px", alignItems: "center", flexWrap: "wrap" },
    ...{ font: "12px sans-serif", color: "var(--input-text)" },
  })
  const button = makeButton(say("ask.frame"), say("ask.frame_hint"))
  const at = document.createElement("input")
  at.type = "number"
  at.min = at.value = unit === "seconds" ? "0" : "1"
  at.step = unit === "seconds" ? "0.1" : "1"
  at.setAttribute("aria-label", say(unit === "seconds" ? "ask.at_hint" : "ask.number_hint"))
  colour(at)
  at.style.width = "64px"
  const words = document.createElement("span")
  words.style.overflowWrap = "anywhere"
  button.addEventListener("click", async () => {
    button.disabled = true
    words.textContent = ""
    try {
      const { output, workflow } = await app.graphToPrompt()
      const id = promptIdOf(app, node)
      if (!id || !output[id]) throw new Error(say("ask.switched_off"))
      const prompt = askingPrompt(output, id, Math.max(Number(at.min), Number(at.value) || 0))
      await api.queuePrompt(0, { output: prompt, workflow }, { partialExecutionTargets: [TARGET_ID] })
    } catch (error) {
      words.textContent = reasonOf(error)
    } finally {
      button.disabled = false
    }
  })
  if (unit === "seconds") row.append(button, say("ask.at"), at, say("ask.seconds"), words)
  else row.append(button, say("ask.number"), at, words)
  return row
}
