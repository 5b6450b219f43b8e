// @ts-check
/** The viewer's keys, which count only while it has the focus, and what its list of keys says of them. */

import { say } from "../shared/words.mjs"
import { MODES } from "./modes.js"

/**
 * @typedef {{kind: "mode", mode: import("./modes.js").Mode}
 *   | {kind: "step" | "seek" | "speed" | "zoom" | "file", by: number}
 *   | {kind: "play" | "loop" | "mute" | "swap" | "fullscreen" | "fit" | "start" | "end" | "help"}} Action
 */

/** @type {Readonly<Record<string, Action>>} */
const ACTIONS = {
  " ": { kind: "play" },
  k: { kind: "play" },
  arrowleft: { kind: "step", by: -1 },
  arrowright: { kind: "step", by: 1 },
  "shift+arrowleft": { kind: "seek", by: -5 },
  "shift+arrowright": { kind: "seek", by: 5 },
  home: { kind: "start" },
  end: { kind: "end" },
  "[": { kind: "speed", by: -1 },
  "]": { kind: "speed", by: 1 },
  l: { kind: "loop" },
  m: { kind: "mute" },
  x: { kind: "swap" },
  f: { kind: "fullscreen" },
  "+": { kind: "zoom", by: 1 },
  "=": { kind: "zoom", by: 1 },
  "-": { kind: "zoom", by: -1 },
  0: { kind: "fit" },
  pageup: { kind: "file", by: -1 },
  pagedown: { kind: "file", by: 1 },
  "?": { kind: "help" },
  ...Object.fromEntries(MODES.map((mode, index) => [index + 1, { kind: "mode", mode }])),
}

/** Return what the list of keys says: the keys, and what they do. */
export function keyHelp() {
  return [
    [say("key.space"), say("key_help.play")],
    ["← →", say("key_help.step")],
    ["Shift ← →", say("key_help.seek")],
    ["Home, End", say("key_help.ends")],
    ["[ ]", say("key_help.speed")],
    ["L, M", say("key_help.sound")],
    ...MODES.map((mode, index) => [String(index + 1), say(`mode.${mode}`).toLowerCase()]),
    ["X", say("key_help.swap")],
    [say("key.wheel"), say("key_help.zoom")],
    ["0", say("key_help.all")],
    ["Page ↑ ↓", say("key_help.file")],
    ["F", say("key_help.full")],
    ["?", say("key_help.help")],
  ]
}

/**
 * Return what a key does, or null: then it is left to the page, as all keys with Ctrl, Alt and the like are.
 * @param {{key: string, shiftKey: boolean, ctrlKey: boolean, altKey: boolean, metaKey: boolean}} event
 * @returns {Action | null}
 */
export function actionOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return null
  const key = event.key.toLowerCase()
  const name = event.shiftKey && key.startsWith("arrow") ? `shift+${key}` : key
  return Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : null
}
