// @ts-check
/**
 * The shaders that show a packed picture in any mode. Places run from the top left corner, in the packed picture, in an
 * eye's view and on the screen alike.
 */

/** @typedef {import("./modes.js").Mode} Mode */

/**
 * Red, green and blue of the anaglyph from the left view's R, G, B and the right view's: `DUBOIS_RED_CYAN` of
 * `spatialdreamer_core/stereo/anaglyph.py`, where its source is told.
 */
export const DUBOIS_RED_CYAN = [
  [0.437, 0.449, 0.164, -0.011, -0.032, -0.007],
  [-0.062, -0.062, -0.024, 0.377, 0.761, 0.009],
  [-0.048, -0.05, -0.017, -0.026, -0.093, 1.234],
]

/** @type {Record<Mode, number>} */
export const MODE_NUMBERS = {
  whole: 0,
  left: 1,
  right: 2,
  sbs: 3,
  anaglyph: 4,
  interlaced: 5,
  wiggle: 6,
  difference: 7,
}

export const VERTEX_SHADER = `#version 300 es
in vec2 corner;
out vec2 place;
void main() {
  place = vec2(corner.x, 1.0 - corner.y);
  gl_Position = vec4(2.0 * corner - 1.0, 0.0, 1.0);
}`

/**
 * Write a matrix of the anaglyph for the columns of one eye.
 * @param {number} first
 */
function matrix(first) {
  const columns = [0, 1, 2].map((column) => DUBOIS_RED_CYAN.map((row) => row[first + column].toFixed(6)))
  return `mat3(${columns.flat().join(", ")})`
}

export const FRAGMENT_SHADER = `#version 300 es
precision highp float;
precision highp int;
uniform sampler2D packedPicture;
uniform vec4 leftEye, rightEye;  // x, y, width, height in the packed picture
uniform vec4 shown;              // the part of a view that is shown: x, y, width, height
uniform vec2 texel;              // the size of one, at the level
uniform float level;             // of the mipmap
uniform float rows;              // of the screen
uniform int mode;
uniform bool second;             // wiggle: whether it is the right eye's turn
in vec2 place;
out vec4 color;

vec3 look(vec4 eye, vec2 position) {
  // Not beyond the middle of the view's last texels, or the other eye's would be mixed in.
  vec2 lowest = eye.xy + 0.5 * texel, highest = eye.xy + eye.zw - 0.5 * texel;
  return textureLod(packedPicture, clamp(eye.xy + eye.zw * position, lowest, highest), level).rgb;
}

void main() {
  vec2 position = place;
  bool right = mode == ${MODE_NUMBERS.right} || (mode == ${MODE_NUMBERS.wiggle} && second);
  if (mode == ${MODE_NUMBERS.sbs}) {
    right = place.x >= 0.5;
    position.x = 2.0 * place.x - (right ? 1.0 : 0.0);
  }
  if (mode == ${MODE_NUMBERS.interlaced}) right = int(rows - gl_FragCoord.y) % 2 == 1;
  position = shown.xy + shown.zw * position;
  vec3 value;
  if (mode == ${MODE_NUMBERS.whole}) {
    value = look(vec4(0.0, 0.0, 1.0, 1.0), position);
  } else if (mode == ${MODE_NUMBERS.anaglyph} || mode == ${MODE_NUMBERS.difference}) {
    vec3 left = look(leftEye, position), other = look(rightEye, position);
    value = mode == ${MODE_NUMBERS.difference}
      ? abs(left - other)
      : clamp(${matrix(0)} * left + ${matrix(3)} * other, 0.0, 1.0);
  } else {
    value = look(right ? rightEye : leftEye, position);
  }
  color = vec4(value, 1.0);
}`
