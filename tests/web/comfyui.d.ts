/** What ComfyUI's page offers to scripts of packs. Its published types are under another licence than ours: not used. */

declare module "*/scripts/app.js" {
  export const app: any
}

declare module "*/scripts/api.js" {
  export const api: any
}

declare module "*/scripts/utils.js" {
  export const applyTextReplacements: (app: any, text: string) => string
}
