// @ts-check
/**
 * Enter VR: a stereo picture or film in a headset, through WebXR. The trigger plays and pauses; a squeeze of the
 * controller, or its upper button (B or Y), ends the session, as does the headset's own menu.
 */

import { say } from "../shared/words.mjs"

/** @typedef {import("../viewer/layouts.js").VRRequest} VRRequest */

const UPPER_BUTTON = 5 // of WebXR's "xr-standard" gamepads

/** Tell whether this browser can show stereo in a headset; where it cannot there is no button for it. */
export async function isVRSupported() {
  try {
    return (await navigator.xr?.isSessionSupported("immersive-vr")) ?? false
  } catch {
    return false // forbidden, such as by the page's permissions policy
  }
}

/**
 * Show a stereo picture or film in the headset. To be called in the handler of a click, else browsers refuse.
 * @param {VRRequest} request
 * @returns {Promise<void>} fulfilled when the session runs
 * @throws {Error} where the browser opens no session, or the picture cannot be drawn
 */
export async function enterVR({ source, layout, eyes, onEnd }) {
  if (!navigator.xr) throw new Error(say("vr.no_webxr"))
  const session = await navigator.xr.requestSession("immersive-vr") // before all else: the click's permission expires
  let ended = false
  session.addEventListener("end", () => (ended = true), { once: true })
  /** @type {ReturnType<typeof import("./theatre.mjs").buildTheatre> | undefined} */
  let theatre
  try {
    const { buildTheatre } = await import("./theatre.mjs")
    theatre = buildTheatre({ source, layout, eyes })
    await theatre.renderer.xr.setSession(session)
  } catch (error) {
    if (!ended) await session.end()
    theatre?.free()
    onEnd()
    throw error
  }
  theatre.renderer.xr.setFoveation(0) // sharp to the edges: there is nothing else to draw
  const { free } = theatre
  const stopListening = listen(session, source)
  // three.js has listened for the end first, and put its renderer in order.
  session.addEventListener(
    "end",
    () => {
      stopListening()
      free()
      onEnd()
    },
    { once: true },
  )
}

/**
 * Follow the controllers.
 * @param {XRSession} session
 * @param {VRRequest["source"]} source
 * @returns {() => void} to stop it
 */
function listen(session, source) {
  const playOrPause = () => {
    if (!(source instanceof HTMLVideoElement)) return
    if (source.paused) source.play().catch(() => {}) // a film that does not play tells it by its `error` event, too
    else source.pause()
  }
  let request = 0
  const stop = () => {
    session.removeEventListener("select", playOrPause)
    session.removeEventListener("squeeze", leave)
    session.cancelAnimationFrame(request)
  }
  const leave = () => {
    stop()
    void session.end()
  }
  const watchButtons = () => {
    const pressed = [...session.inputSources].some((input) => input.gamepad?.buttons[UPPER_BUTTON]?.pressed)
    if (pressed) leave()
    else request = session.requestAnimationFrame(watchButtons)
  }
  session.addEventListener("select", playOrPause)
  session.addEventListener("squeeze", leave)
  request = session.requestAnimationFrame(watchButtons)
  return stop
}
