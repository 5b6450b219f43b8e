// @ts-check
/**
 * Gives our own elements of the page their language, and keeps the texts of node packs (`locales/`) in the page's
 * languages. The page of ComfyUI 0.3.75 and its neighbours loads a language when it is chosen, and drops what it had merged
 * into it before: ComfyUI_frontend's issue 6748, mended by its pull request 7214 in version 1.35. Later pages keep them by
 * themselves, and are left alone.
 */

import { app } from "../../../scripts/app.js"
import { api } from "../../../scripts/api.js"
import { setLanguage, setTranslations } from "./shared/words.mjs"

const SETTING = "Comfy.Locale"

/** @type {Promise<Record<string, any>> | null} */
let asked = null

/** Ask the server for the texts of all packs, once unless it fails; a page that has no call for them gets none. */
function textsOfPacks() {
  const ask = async () => (await api.getCustomNodesI18n?.()) ?? {}
  asked ??= ask().catch((error) => {
    asked = null
    console.warn("SpatialDreamer speaks English, as the texts of other languages cannot be loaded:", error)
    return {}
  })
  return asked
}

/**
 * Let our elements speak a language. Those that are there stay as they are; after a change of the setting the page loads
 * the open workflow anew, and makes all nodes and their elements again.
 * @param {string} language
 */
async function speak(language) {
  setLanguage(language)
  if (language !== "en") setTranslations(await textsOfPacks())
}

/**
 * Tell whether a version of the page drops the texts of packs; one that is not known does not.
 * @param {string | undefined} version such as 1.32.9
 */
function dropsTexts(version) {
  const [major, minor] = (version ?? "").split(".").map(Number)
  return major === 1 && minor < 36 // merging twice, in those of 1.35 that are mended, changes nothing
}

/** Find what holds the page's texts, vue-i18n's global composer; undefined where it lies elsewhere. */
function findTexts() {
  const page = /** @type {any} */ (document.querySelector("#vue-app"))?.__vue_app__
  return page?._context?.provides?.[page.__VUE_I18N_SYMBOL__]?.global
}

app.registerExtension({
  name: "SpatialDreamer.Languages",
  async init() {
    app.ui.settings.addEventListener(`${SETTING}.change`, (/** @type {any} */ { detail }) => speak(detail.value))
    await speak(app.ui.settings.getSettingValue(SETTING)) // before the page makes nodes
    const texts = findTexts()
    if (!texts || !dropsTexts(/** @type {any} */ (window).__COMFYUI_FRONTEND_VERSION__)) return
    const ofPacks = await textsOfPacks()
    const merge = (/** @type {string} */ language) => {
      if (ofPacks[language]) texts.mergeLocaleMessage(language, ofPacks[language])
    }
    const setMessages = texts.setLocaleMessage
    texts.setLocaleMessage = (/** @type {string} */ language, /** @type {object} */ messages) => {
      setMessages(language, messages)
      merge(language)
    }
    Object.keys(ofPacks).forEach(merge)
  },
})
