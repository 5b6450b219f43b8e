// @ts-check
/** Programs of WebGL2. */

import { say } from "./words.mjs"

/**
 * Compile and link a program.
 * @param {WebGL2RenderingContext} gl
 * @param {string} vertex source of the vertex shader
 * @param {string} fragment source of the fragment shader
 * @returns {WebGLProgram}
 * @throws {Error} if the shaders do not compile or fit each other; not for a context that is lost
 */
export function buildProgram(gl, vertex, fragment) {
  const program = gl.createProgram()
  for (const [kind, source] of /** @type {const} */ ([
    [gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment],
  ])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind))
    gl.shaderSource(shader, source)
    gl.compileShader(shader)
    gl.attachShader(program, shader)
    gl.deleteShader(shader) // when the program goes
  }
  gl.linkProgram(program)
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = (gl.getAttachedShaders(program) ?? []).map((shader) => gl.getShaderInfoLog(shader))
    throw new Error(say("webgl.no_shader", { log: [...logs, gl.getProgramInfoLog(program)].join(" ") }))
  }
  return program
}
