// @ts-check
/**
 * The DVG forward warp as fragment shaders: what `spatialdreamer_core/dvg/rows.py` does, pixel for pixel.
 *
 * A splat sends each source pixel to where it lands. A fragment asks instead which source pixels land on it: their
 * disparities are bounded, so it looks at those columns of its row alone (`u_reach`), and the result is the same. Five
 * passes, each a picture of its own: disparity, outlines, splat, bridges over cracks, colours. The comments name the
 * Python functions; thresholds are theirs. Floats travel between passes as the bits of integers, which every WebGL2 can
 * draw into.
 *
 * The right eye's sign is -1 (x' = x - d), the left's +1 (x' = x + d).
 */

const HEADER = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;
uniform float u_sign;
uniform vec2 u_reach; // px, the least and the largest disparity
const float JUMP = 0.75; // px, cracks.py
const int MAX_CRACK = 2; // px, cracks.py
const float MIN_COVERAGE = 0.5; // rows.py
const float FRONT_ODDS = 1.5; // rows.py
const float LEAST_STEP = 3.0; // px, outlines.py
const float COLOUR_NOISE = 0.01; // outlines.py
const float LEAST_SHARE = 0.15; // outlines.py

float number(uint bits) { return uintBitsToFloat(bits); }
uint bits(float number) { return floatBitsToUint(number); }
ivec2 here() { return ivec2(gl_FragCoord.xy); }
`

/** One triangle that covers the target. */
export const VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }
`

/** Depth to disparity by a table of all its values, eased at the borders (`dvg/borders.py`): bits of px. */
export const DISPARITY = `${HEADER}
uniform sampler2D u_depth; // high byte in red, low byte in green
uniform sampler2D u_table; // 256 x 256, px
uniform float u_border; // px, 0 for none
out uint disparity;
void main() {
  vec2 bytes = floor(texelFetch(u_depth, here(), 0).rg * 255.0 + 0.5);
  float d = texelFetch(u_table, ivec2(bytes.yx), 0).r;
  float column = float(here().x), last = float(textureSize(u_depth, 0).x - 1);
  if (u_border > 0.0 && d > 0.0) {
    float u = min(1.0, min(column, last - column) / u_border);
    d *= u * u * (3.0 - 2.0 * u);
  }
  disparity = bits(d);
}
`

/** The colours of source pixels in 32 bits, as many as the passes after need. */
const PACKING = `
uint pack(vec3 colour) {
  uvec3 c = uvec3(clamp(colour, 0.0, 1.0) * vec3(2047.0, 2047.0, 1023.0) + 0.5);
  return c.r | c.g << 11 | c.b << 22;
}
vec3 unpack(uint packed) {
  return vec3(packed & 2047u, packed >> 11 & 2047u, packed >> 22) / vec3(2047.0, 2047.0, 1023.0);
}
`

/**
 * `find_outlines`: disparity with foregrounds widened, what a foreground covers of the pixel after its trailing edge (0
 * where there is no such rim), that foreground's disparity, and the colour cleaned of it.
 */
export const OUTLINES = `${HEADER}${PACKING}
uniform usampler2D u_disparity;
uniform sampler2D u_picture;
out uvec4 outlined; // bits of px, bits of a share, bits of px, packed colour
int last;
ivec2 aside(int step) { return ivec2(clamp(here().x + step, 0, last), here().y); }
float moved(int step) { return number(texelFetch(u_disparity, aside(step), 0).r); }
vec3 colour(int step) { return texelFetch(u_picture, aside(step), 0).rgb; }
void main() {
  last = textureSize(u_disparity, 0).x - 1;
  int away = -int(u_sign); // from the foreground to the background
  float near = moved(-away), far = moved(0), widened = max(near, far), share = 0.0;
  vec3 cleaned = colour(0);
  bool clean = moved(-2 * away) - near <= JUMP && abs(moved(away) - far) <= JUMP;
  if (widened - far > LEAST_STEP && clean) {
    widened = far;
    vec3 front = colour(-away), mixed = colour(0), behind = colour(away), contrast = front - behind;
    share = dot(mixed - behind, contrast) / (dot(contrast, contrast) + COLOUR_NOISE);
    share = share > LEAST_SHARE ? min(share, 1.0) : 0.0;
    if (share > 0.0) {
      vec3 rest = clamp((mixed - share * front) / max(1.0 - share, LEAST_SHARE), 0.0, 1.0);
      cleaned = mix(rest, behind, share);
    }
  }
  outlined = uvec4(bits(widened), bits(share), bits(near), pack(cleaned));
}
`

/** Which source pixels land on the pixel at hand, and with which bilinear weight (`splat.py`). */
const LANDING = `
uniform usampler2D u_outlined;
int width() { return textureSize(u_outlined, 0).x; }
ivec2 sources() { // the first and the last column that may land here
  vec2 reach = u_sign < 0.0 ? u_reach : -u_reach.yx;
  vec2 ends = float(here().x) + reach;
  return clamp(ivec2(floor(ends.x) - 2.0, ceil(ends.y) + 2.0), 0, width() - 1);
}
float weight(float target) {
  return max(0.0, 1.0 - abs(clamp(target, -1.0, float(width())) - float(here().x)));
}
float landing(int column, uvec4 source) { return weight(float(column) + u_sign * number(source.x)); }
float rim_landing(int column, uvec4 source) { // the covered part lies on the foreground's side of the pixel
  float share = number(source.y);
  if (share == 0.0) return 0.0;
  return share * weight(float(column) + u_sign * (number(source.z) + (1.0 - share) / 2.0));
}
`

/** `splat_rows` of the disparity, and `_close_at_rim`: what is seen, and whether it is a gap (1) or at a rim (2). */
export const SPLAT = `${HEADER}${LANDING}
out uvec2 seen; // bits of px, flags
void main() {
  ivec2 columns = sources();
  float nearest = -1e30, total = 0.0, sum = 0.0, coverage = 0.0, covered = 0.0, rim = -1e30;
  for (int column = columns.x; column <= columns.y; column++) {
    uvec4 source = texelFetch(u_outlined, ivec2(column, here().y), 0);
    float share = landing(column, source), disparity = number(source.x);
    if (share > 0.0) {
      if (disparity > nearest) { // softmax splatting: weights are b · exp(d - the nearest d)
        float fading = exp(max(nearest - disparity, -80.0));
        total *= fading;
        sum *= fading;
        nearest = disparity;
      }
      float importance = share * exp(max(disparity - nearest, -80.0));
      total += importance * disparity;
      sum += importance;
      coverage += share;
    }
    float rim_share = rim_landing(column, source);
    if (rim_share > 0.0) {
      covered += rim_share;
      rim = max(rim, number(source.z));
    }
  }
  bool gap = coverage < MIN_COVERAGE;
  float disparity = sum > 0.0 ? total / sum : 0.0;
  if (gap && covered > 0.0 && (covered >= LEAST_SHARE || coverage + covered >= MIN_COVERAGE)) {
    disparity = rim;
    gap = false;
  }
  seen = uvec2(bits(disparity), uint(gap) | uint(covered > 0.0 && !gap) << 1);
}
`

/** `bridge_cracks`: gaps of a pixel or two in a stretched surface are filled linearly. */
export const BRIDGE = `${HEADER}
uniform usampler2D u_outlined;
uniform usampler2D u_seen;
out uvec2 bridged; // as of the pass before
int width() { return textureSize(u_seen, 0).x; }
uvec2 at(int column) { return texelFetch(u_seen, ivec2(column, here().y), 0).rg; }
int distance_to_known(int step) {
  for (int n = 1; n <= MAX_CRACK; n++) {
    int column = here().x + n * step;
    if (column >= 0 && column < width() && (at(column).g & 1u) == 0u) return n;
  }
  return MAX_CRACK + 1;
}
float source(float column) { return number(texelFetch(u_outlined, ivec2(column, here().y), 0).x); }
void main() {
  int x = here().x;
  bridged = at(x);
  if ((bridged.g & 1u) == 0u) return;
  int to_left = distance_to_known(-1), to_right = distance_to_known(1);
  if (to_left + to_right > MAX_CRACK + 1) return;
  float left = number(at(x - to_left).r), right = number(at(x + to_right).r);
  float bridge = mix(left, right, float(to_left) / float(to_left + to_right));
  float position = clamp(float(x) - u_sign * bridge, 0.0, float(width() - 1));
  if (max(source(floor(position)), source(ceil(position))) > max(left, right) + JUMP) return; // a hair's gap
  bridged = uvec2(bits(bridge), bridged.g & ~1u);
}
`

/** `_gather_cubic`, and `_splat_at` where surfaces meet: the view, its alpha 0 in holes, which are black. */
export const COLOURS = `${HEADER}${PACKING}${LANDING}
uniform usampler2D u_seen;
uniform sampler2D u_picture;
out vec4 view;
uvec2 at(int column) { return texelFetch(u_seen, ivec2(clamp(column, 0, width() - 1), here().y), 0).rg; }
uvec4 source_at(int column) { return texelFetch(u_outlined, ivec2(clamp(column, 0, width() - 1), here().y), 0); }
vec3 cleaned(int column) { return unpack(source_at(column).w); }
vec3 picture(int column) { return texelFetch(u_picture, ivec2(clamp(column, 0, width() - 1), here().y), 0).rgb; }

vec3 gather_cubic(float position) { // Keys, a = -0.5
  float left = floor(position), t = position - left, s = 1.0 - t, bow = -0.5 * t * s;
  float outer_left = bow * s, outer_right = bow * t;
  int column = int(left);
  vec3 colour = outer_left * cleaned(column - 1) + (s + outer_right - 2.0 * outer_left) * cleaned(column)
    + (t + outer_left - 2.0 * outer_right) * cleaned(column + 1) + outer_right * cleaned(column + 2);
  return clamp(colour, 0.0, 1.0);
}

struct Blend { vec3 colour; float sum; float nearest; };
void add(inout Blend blend, vec3 colour, float share, float disparity) { // as SPLAT adds disparities
  if (disparity > blend.nearest) {
    float fading = exp(max(blend.nearest - disparity, -80.0));
    blend.colour *= fading;
    blend.sum *= fading;
    blend.nearest = disparity;
  }
  float importance = share * exp(max(disparity - blend.nearest, -80.0));
  blend.colour += importance * colour;
  blend.sum += importance;
}
vec3 mean(Blend blend) { return blend.colour / max(blend.sum, 1e-37); }

vec3 splat(vec3 gathered) {
  ivec2 columns = sources();
  float nearest = -1e30;
  for (int column = columns.x; column <= columns.y; column++) {
    uvec4 source = source_at(column);
    if (landing(column, source) > 0.0) nearest = max(nearest, number(source.x));
    if (rim_landing(column, source) > 0.0) nearest = max(nearest, number(source.z));
  }
  if (nearest == -1e30) return gathered;
  int away = -int(u_sign);
  Blend near = Blend(vec3(0), 0.0, -1e30), far = near;
  vec4 behind = vec4(0);
  float cover = 0.0;
  for (int column = columns.x; column <= columns.y; column++) {
    uvec4 source = source_at(column);
    float share = landing(column, source), disparity = number(source.x);
    if (share > 0.0) {
      if (disparity >= nearest - JUMP) {
        add(near, unpack(source.w), share, disparity);
        cover += share;
      } else {
        add(far, unpack(source.w), share, disparity);
      }
    }
    float rim_share = rim_landing(column, source), rim = number(source.z);
    if (rim_share > 0.0) {
      vec3 front = picture(column - away);
      behind += rim_share * vec4(picture(column + away), 1.0);
      if (rim >= nearest - JUMP) {
        add(near, front, rim_share, rim);
        cover += rim_share;
      } else {
        add(far, front, rim_share, rim);
      }
    }
  }
  cover = min(cover, 1.0);
  cover = FRONT_ODDS * cover / (1.0 + (FRONT_ODDS - 1.0) * cover);
  if (far.sum > 0.0) return mix(mean(far), mean(near), cover);
  if (behind.a > 0.0) return mix(behind.rgb / behind.a, mean(near), cover);
  return mean(near);
}

void main() {
  int x = here().x;
  uvec2 own = at(x), left = at(x - 1), right = at(x + 1);
  view = vec4(0);
  if ((own.g & 1u) == 1u) return;
  float seen = number(own.r);
  vec3 colour = gather_cubic(clamp(float(x) - u_sign * seen, 0.0, float(width() - 1)));
  bool jump = abs(number(left.r) - seen) > JUMP || abs(number(right.r) - seen) > JUMP;
  bool beside_gap = ((left.g | right.g) & 1u) == 1u;
  if (jump || beside_gap || (own.g & 2u) == 2u) colour = splat(colour);
  view = vec4(clamp(colour, 0.0, 1.0), 1.0);
}
`
