// @ts-check
/**
 * The words of the pack's own elements of the page, in the page's language: `say("viewer.play")`. English stands here, and
 * needs nothing else; `locales/<language>/main.json` has the others under `spatialdreamer`, which `languages.js` brings.
 * A text has its values as `%name%`, since ComfyUI's page may take braces for its own. What the server says, such as errors
 * and notes of a result, comes as it is.
 *
 * After a change of English: `bash scripts/test.sh tests/comfyui/test_locales.py --update-contract`.
 */

export const ENGLISH = {
  viewer: {
    title: "Stereo viewer; keys: ?",
    play: "Play (Space)",
    pause: "Pause (Space)",
    back: "One frame back (←)",
    on: "One frame on (→)",
    loop: "Loop (L)",
    mute: "Mute (M)",
    unmute: "Unmute (M)",
    swap: "Exchange the eyes (X)",
    all: "Show all of the picture (0)",
    full: "Full screen (F)",
    previous: "File before (Page ↑)",
    next: "File after (Page ↓)",
    help: "Keys (?)",
    keys: "Keys",
    scrub: "Frame",
    mode: "How the two views are shown (1 to 8)",
    speed: "Speed ([ and ])",
    period: "How long wiggle shows each view, in milliseconds",
    frame_of: "frame %frame% of %frames%",
    file_of: "%file% of %files%: %name%",
    live: "live picture of the run",
    gone: "%name% is gone: it has been deleted or moved. Run the node again.",
    no_answer: "%name% cannot be loaded: ComfyUI does not answer.",
    no_h264: "This browser plays no H.264; open the file in a player.",
    not_shown: "This browser cannot show %name%; open it in a player.",
  },
  mode: {
    sbs: "Side by side",
    left: "Left eye",
    right: "Right eye",
    anaglyph: "Anaglyph",
    interlaced: "Interlaced rows",
    wiggle: "Wiggle",
    difference: "Difference",
    whole: "As it is",
  },
  mode_hint: {
    sbs: "left beside right, at full width",
    left: "what the left eye sees",
    right: "what the right eye sees",
    anaglyph: "for red-cyan glasses",
    interlaced: "for passive 3D monitors, in full screen",
    wiggle: "both views in turn, seen without glasses",
    difference: "how far the views differ at each pixel",
    whole: "the file's own picture",
  },
  key: {
    space: "Space, K",
    wheel: "+ −, wheel",
  },
  key_help: {
    play: "play or pause",
    step: "one frame back or on",
    seek: "5 seconds back or on",
    ends: "to the start, to the end",
    speed: "slower, faster",
    sound: "loop, mute",
    swap: "exchange the eyes",
    zoom: "zoom; drag to move",
    all: "all of the picture",
    file: "file before or after",
    full: "full screen",
    help: "this list",
  },
  vr: {
    enter: "Enter VR",
    no_webxr: "this browser has no WebXR, which needs https:// or localhost",
    not_loaded: "the picture has not been loaded",
    not_drawn: "this browser cannot draw the picture",
  },
  webgl: {
    absent: "this browser has no WebGL2",
    no_shader: "a shader does not compile: %log%",
  },
  preview: {
    title: "Live preview",
    toggle: "Shows or hides the frame that follows the sliders",
    views: "View of the live preview",
    holes: "holes",
    holes_hint: "Tints what a filler will have to make up; off, the background beside it is stretched over it",
    picture: "live preview, %comfort%",
    gone: "the preview's files are gone; run the node again",
    none: "no live preview: %reason%",
    before: "%fault%; the picture is of the values before",
    depth_range: "depth_near must be at least %least% above depth_far",
    placement: "this frame gets divergence %strength% %, convergence %place%",
    unknown: "not known here, as another node gives it: %values%; the value of the last run is shown",
    waiting: "seen after the next run: %names%",
    no_window: "the floating window is not shown",
  },
  view: {
    right: "Right",
    left: "Left",
    anaglyph: "Anaglyph",
    wiggle: "Wiggle",
    sbs: "Side by side",
  },
  view_hint: {
    right: "The right eye's view",
    left: "The left eye's view",
    anaglyph: "Both views for red-cyan glasses",
    wiggle: "Both views in turn, which shows depth without glasses",
    sbs: "Both views, the left eye's on the left",
  },
  comfort: {
    behind: "behind",
    screen: "screen",
    front: "in front",
    place_behind: "%percent% % behind the screen",
    place_front: "%percent% % in front of the screen",
    now: "now: nearest %nearest%; farthest %farthest% (% of the width)",
    over_front: "over %limit% % in front",
    over_behind: "over %limit% % behind",
    over_both: "%front% and %behind%",
    too_much: "%now%: more than is comfortable, %over%",
  },
  ask: {
    frame: "Preview a frame",
    frame_hint: "Queues the depth of this frame alone; the sliders then change the picture at once, without a run",
    at: "at",
    seconds: "s",
    number: "number",
    at_hint: "Seconds from the start of the video",
    number_hint: "Number of the frame",
    switched_off: "the node is switched off, so there is nothing to preview",
  },
}

/** @typedef {typeof ENGLISH} Texts */
/** @typedef {{[P in keyof Texts]: `${P}.${keyof Texts[P] & string}`}[keyof Texts]} Key */

let language = "en"
/** @type {Record<string, any>} */
let translations = {}

/**
 * Choose the language of what is said from now on; English where there are no texts of it.
 * @param {string} chosen as ComfyUI names it, such as "ja"
 */
export function setLanguage(chosen) {
  language = chosen
}

/**
 * Take the texts of all packs, as ComfyUI gives them.
 * @param {Record<string, any>} ofPacks by language
 */
export function setTranslations(ofPacks) {
  translations = ofPacks ?? {}
}

/**
 * Return a text in the page's language, in English where it has no such text.
 * @param {Key} key
 * @param {Record<string, string | number>} [values] of the text's placeholders
 * @returns {string}
 */
export function say(key, values = {}) {
  const [part, name] = key.split(".")
  const translated = translations[language]?.spatialdreamer?.[part]?.[name]
  const text = typeof translated === "string" ? translated : /** @type {any} */ (ENGLISH)[part][name]
  const fill = (/** @type {string} */ sign, /** @type {string} */ value) => String(values[value] ?? sign)
  return text.replace(/%([a-z]+)%/g, fill)
}
