export * from "three"
