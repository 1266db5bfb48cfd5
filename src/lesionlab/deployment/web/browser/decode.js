// From a file to pixels. JPEG goes through libjpeg compiled to WebAssembly (the family of
// decoders that Pillow uses), because browsers differ by a grey level here and there, and one
// grey level can move a probability. The rest is lossless or decoded by the browser.

import { toSrgb, UnknownProfile } from "./colour.js";
import { chunksOf, deepGreys, profileOf } from "./png.js";
import decodeJpeg, { init as initJpeg } from "../vendor/jpeg/decode.js";

export const MAX_PIXELS = 100_000_000;
// What the command line and the server read and this page does not.
const ELSEWHERE = { tiff: "TIFF", ppm: "PPM", avif: "AVIF", heic: "HEIC", dicom: "DICOM" };
const MIN_SIDE = 8, MAX_ASPECT = 20;

export class Unreadable extends Error {}

export async function start(wasmUrl) {
  await initJpeg(await WebAssembly.compileStreaming(fetch(wasmUrl)));
}

// file: Blob -> { image: {width, height, rgba}, orientation }; depth: of the 16-bit greys that the
// model learnt from
export async function decode(file, depth = 16) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!bytes.length) throw new Unreadable("the file is empty");
  const kind = kindOf(bytes);
  if (!kind) throw new Unreadable("not an image of an allowed format");
  if (ELSEWHERE[kind]) {
    throw new Unreadable(`${ELSEWHERE[kind]}: this page cannot read it; save it as PNG`);
  }
  if (kind === "jpeg") {
    const head = jpegHeader(bytes);
    checkSize(head.width, head.height);
    if (head.components === 4) throw new Unreadable("CMYK: convert it to RGB first");
    if (!head.ended) throw new Unreadable("truncated or corrupt");
    // false: the pixels as stored; prepare.js turns them
    const jpeg = await decodeJpeg(bytes.buffer, { preserveOrientation: false }).catch(() => null);
    if (!jpeg) throw new Unreadable("truncated or corrupt");
    const image = plain(jpeg.width, jpeg.height, jpeg.data);
    if (head.components === 3) coloured(image, joined(head.profile));
    return { image, orientation: head.orientation || 1 };
  }
  if (kind === "png" && bytes[24] === 16) return { image: await deep(bytes, depth), orientation: 1 };
  if (kind === "png" && isWide(bytes)) {
    throw new Unreadable("colours of a wide gamut without a profile: save it as sRGB");
  }
  const image = await byBrowser(file, kind, bytes);
  if (kind === "png" && ![0, 4].includes(bytes[25])) coloured(image, await profileOf(bytes));
  if (kind === "webp") coloured(image, webpProfile(bytes));
  return { image, orientation: 1 };
}

function coloured(image, profile) {
  if (!profile) return;
  try {
    toSrgb(image.rgba, profile);
  } catch (error) {
    if (!(error instanceof UnknownProfile)) throw error;
    throw new Unreadable(`${error.message}: this page cannot convert it; save it as sRGB`);
  }
}

function joined(parts) {
  return parts.length ? new Uint8Array(parts.flatMap((part) => [...part])) : null;
}

// The upper 8 of `depth` bits, as data/depth.py.
async function deep(bytes, depth) {
  if (bytes[25] !== 0) throw new Unreadable("16 bits a channel in colour: convert it to 8");
  if (bytes[28] !== 0) throw new Unreadable("16 bits and interlaced: save it without interlacing");
  const view = new DataView(bytes.buffer), width = view.getUint32(16), height = view.getUint32(20);
  checkSize(width, height);
  const values = await deepGreys(bytes, width, height).catch(() => null);
  if (!values) throw new Unreadable("truncated or corrupt");
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  if (most >= 2 ** depth) throw new Unreadable(`values up to ${most} need more than ${depth} bits`);
  const rgba = new Uint8Array(4 * values.length).fill(255);
  values.forEach((value, i) => rgba.fill(value >> (depth - 8), 4 * i, 4 * i + 3));
  return { width, height, rgba };
}

// A colour space by its number (cICP), as data/colour_profiles.py:wide_by_number.
function isWide(bytes) {
  const chunks = chunksOf(bytes), named = chunks.find((c) => c.kind === "cICP");
  const profile = chunks.some((c) => c.kind === "iCCP");
  return Boolean(named) && !profile && ![1, 2, 5, 6, 7].includes(named.data[0]);
}

function webpProfile(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 12; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    if (String.fromCharCode(...bytes.subarray(at, at + 4)) === "ICCP") {
      return bytes.subarray(at + 8, at + 8 + length);
    }
    at += 8 + length + (length % 2);
  }
  return null;
}

function plain(width, height, data) {
  return { width, height, rgba: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

function kindOf(b) {
  const text = (from, to) => String.fromCharCode(...b.subarray(from, to));
  if (b[0] === 0xff && b[1] === 0xd8) return "jpeg";
  if (text(1, 4) === "PNG") return "png";
  if (text(0, 2) === "BM") return "bmp";
  if (text(0, 4) === "RIFF" && text(8, 12) === "WEBP") return "webp";
  if (["II*\0", "MM\0*", "II+\0", "MM\0+"].includes(text(0, 4))) return "tiff";
  if (/^P[1-6]\s/.test(text(0, 3))) return "ppm";
  if (text(128, 132) === "DICM") return "dicom";
  if (text(4, 8) === "ftyp") {
    const brands = text(8, 12) + text(16, Math.min(b[3], 64));
    if (/avi[fs]/.test(brands)) return "avif";
    if (/hei[cxms]|hev[cxms]|m[is]f[12]/.test(brands)) return "heic";
  }
  return null;
}

function checkSize(width, height) {
  if (width * height > MAX_PIXELS) throw new Unreadable(`${width} x ${height} pixels: too many`);
  const short = Math.min(width, height);
  if (short < MIN_SIDE) throw new Unreadable(`${width} x ${height} pixels is too small`);
  if (Math.max(width, height) > MAX_ASPECT * short) {
    throw new Unreadable(`${width} x ${height} pixels: extreme aspect`);
  }
}

// Size, components and EXIF orientation from the segments before the first scan.
export function jpegHeader(b) {
  const view = new DataView(b.buffer, b.byteOffset, b.byteLength);
  const header = { width: 0, height: 0, components: 0, orientation: 0, ended: false, profile: [] };
  let at = 2;
  while (at + 4 <= b.length) {
    if (b[at] !== 0xff) break;
    const marker = b[at + 1];
    if (marker === 0xff) { at += 1; continue; }
    if (marker === 0xda) { header.ended = endsWell(b, at); break; }
    const length = view.getUint16(at + 2);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame && at + 10 <= b.length) {
      header.height = view.getUint16(at + 5);
      header.width = view.getUint16(at + 7);
      header.components = b[at + 9];
    }
    // The first that says so: another APP1 segment may hold XMP.
    if (marker === 0xe1) header.orientation ||= exifOrientation(b, at + 4, at + 2 + length);
    if (marker === 0xe2 && isProfile(b, at + 4)) {
      header.profile[b[at + 16] - 1] = b.subarray(at + 18, at + 2 + length);
    }
    at += 2 + length;
  }
  if (!header.width || !header.height) throw new Unreadable("truncated or corrupt");
  return header;
}

// A JPEG cut off in its scan has no end marker; decoders fill the rest with grey. A phone appends
// more pictures or a video, so that the marker may stand far from the end of the file.
function endsWell(b, from) {
  for (let i = b.indexOf(0xff, from); i >= 0; i = b.indexOf(0xff, i + 1)) {
    if (b[i + 1] === 0xd9) return true;
  }
  return false;
}

function isProfile(b, at) {
  return String.fromCharCode(...b.subarray(at, at + 11)) === "ICC_PROFILE";
}

// 0 where the segment does not say.
function exifOrientation(b, from, to) {
  if (to > b.length || String.fromCharCode(...b.subarray(from, from + 4)) !== "Exif") return 0;
  const base = from + 6, view = new DataView(b.buffer, b.byteOffset, b.byteLength);
  const little = b[base] === 0x49;
  try {
    const directory = base + view.getUint32(base + 4, little);
    const entries = view.getUint16(directory, little);
    for (let i = 0; i < entries; i++) {
      const entry = directory + 2 + 12 * i;
      if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
    }
  } catch { /* a damaged EXIF block turns nothing */ }
  return 0;
}

async function byBrowser(file, kind, bytes) {
  if (kind === "png" && findsText(bytes, "acTL")) throw new Unreadable("animated or multi-page");
  if (kind === "webp" && findsText(bytes, "ANIM")) throw new Unreadable("animated or multi-page");
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const typed = file.type ? file : new Blob([bytes], { type: `image/${kind}` });
  const bitmap = await createImageBitmap(typed, options).catch(() => null);
  if (!bitmap) throw new Unreadable("truncated or corrupt");
  const { width, height } = bitmap;
  checkSize(width, height);
  const context = new OffscreenCanvas(width, height).getContext("2d", {
    willReadFrequently: true, colorSpace: "srgb",
  });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return plain(width, height, data);
}

function findsText(bytes, text) {
  const codes = [...text].map((c) => c.charCodeAt(0));
  const most = Math.min(bytes.length - 4, 4096);
  for (let i = 0; i < most; i++) if (codes.every((c, k) => bytes[i + k] === c)) return true;
  return false;
}
