// Embedded ICC profiles, as data/colour_profiles.py: a picture of another colour space becomes
// sRGB, colorimetric, and one whose profile is next to sRGB keeps every pixel.

const FROM_D50 = [ // XYZ with a white of D50 (Bradford) to linear sRGB
  3.1338561, -1.6168667, -0.4906146, -0.9787684, 1.9161415, 0.033454, 0.0719453, -0.2289914, 1.4052427,
];
const SAME = 2; // grey levels
const STEPS = 65535;

export class UnknownProfile extends Error {}

// rgba: Uint8Array, changed in place; profile: Uint8Array. A damaged one is ignored.
export function toSrgb(rgba, profile) {
  const change = conversion(profile);
  if (!change) return;
  for (let i = 0; i < rgba.length; i += 4) change(rgba, i);
}

function conversion(profile) {
  const view = new DataView(profile.buffer, profile.byteOffset, profile.byteLength);
  let tags, curves;
  try {
    if (text(profile, 36) !== "acsp" || text(profile, 16) !== "RGB ") return null;
    tags = tagsOf(profile, view);
    if (tags.A2B0 || tags.A2B1) throw new UnknownProfile("a colour profile of tables");
    if (!tags.rXYZ || !tags.gXYZ || !tags.bXYZ || text(profile, 20) !== "XYZ ") return null;
    curves = ["rTRC", "gTRC", "bTRC"].map((name) => curve(profile, view, tags[name]));
  } catch (error) {
    if (error instanceof UnknownProfile) throw error;
    return null;
  }
  const columns = ["rXYZ", "gXYZ", "bXYZ"].map((name) => [8, 12, 16].map(
    (at) => view.getInt32(tags[name] + at) / 65536));
  const change = converter(product(FROM_D50, columns), curves, encoded());
  return changesNothing(change) ? null : change;
}

function text(bytes, at) {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

function tagsOf(profile, view) {
  const tags = {};
  for (let i = 0, n = Math.min(view.getUint32(128), 100); i < n; i++) {
    tags[text(profile, 132 + 12 * i)] = view.getUint32(136 + 12 * i);
  }
  return tags;
}

// 256 values of linear light, 0 to 1.
function curve(profile, view, at) {
  const kind = text(profile, at);
  if (kind !== "curv" && kind !== "para") throw new Error("no curve");
  const linear = kind === "curv" ? sampled(view, at) : parametric(view, at);
  return Float64Array.from({ length: 256 }, (_, v) => Math.min(Math.max(linear(v / 255), 0), 1));
}

function sampled(view, at) {
  const n = view.getUint32(at + 8);
  if (n === 0) return (x) => x;
  if (n === 1) return (x) => x ** (view.getUint16(at + 12) / 256);
  const value = (i) => view.getUint16(at + 12 + 2 * Math.min(i, n - 1)) / 65535;
  return (x) => {
    const place = x * (n - 1), low = Math.floor(place), part = place - low;
    return value(low) * (1 - part) + value(low + 1) * part;
  };
}

function parametric(view, at) {
  const kind = view.getUint16(at + 8), count = [1, 3, 4, 5, 7][kind];
  const [g, a = 1, b = 0, c = 0, d = 0, e = 0, f = 0] = Array.from(
    { length: count }, (_, i) => view.getInt32(at + 12 + 4 * i) / 65536);
  if (kind === 0) return (x) => x ** g;
  if (kind === 1) return (x) => (x >= -b / a ? (a * x + b) ** g : 0);
  if (kind === 2) return (x) => (x >= -b / a ? (a * x + b) ** g + c : c);
  return (x) => (x >= d ? (a * x + b) ** g + e : c * x + f);
}

// rows: 9 numbers; columns: 3 of 3. -> 9 numbers
function product(rows, columns) {
  const found = [];
  for (let i = 0; i < 3; i++) {
    for (const column of columns) {
      found.push(rows[3 * i] * column[0] + rows[3 * i + 1] * column[1] + rows[3 * i + 2] * column[2]);
    }
  }
  return found;
}

function encoded() {
  return Uint8Array.from({ length: STEPS + 1 }, (_, i) => {
    const v = i / STEPS;
    return Math.round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055));
  });
}

function converter(m, [red, green, blue], code) {
  const byte = (light) => code[Math.round(Math.min(Math.max(light, 0), 1) * STEPS)];
  return (p, i) => {
    const r = red[p[i]], g = green[p[i + 1]], b = blue[p[i + 2]];
    p[i] = byte(m[0] * r + m[1] * g + m[2] * b);
    p[i + 1] = byte(m[3] * r + m[4] * g + m[5] * b);
    p[i + 2] = byte(m[6] * r + m[7] * g + m[8] * b);
  };
}

function changesNothing(change) {
  const steps = Array.from({ length: 9 }, (_, i) => Math.round((i * 255) / 8));
  for (const r of steps) for (const g of steps) for (const b of steps) {
    const seen = [r, g, b];
    change(seen, 0);
    if (Math.max(...[r, g, b].map((v, c) => Math.abs(v - seen[c]))) > SAME) return false;
  }
  return true;
}
