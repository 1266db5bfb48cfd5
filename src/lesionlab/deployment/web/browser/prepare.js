// From decoded pixels to the network's view, as data/images.py does it: orientation, colour,
// square, integer resize, centre, `(x / 255 - mean) / std` in float32.

import { resize } from "./resize.js";
import { centralSquare, geometry } from "./view.js";

// image: { width, height, rgba: Uint8Array }; orientation: EXIF 1..8.
export function prepare(image, orientation, how) {
  let { width, height, pixels } = upright(flatten(image), orientation);
  let channels = 3;
  if (how.channels === 1) {
    pixels = luma(pixels);
    channels = 1;
  }
  if (how.fit === "crop") {
    const { left, top, side } = centralSquare(width, height);
    pixels = crop(pixels, width, channels, left, top, side);
    width = height = side;
  }
  const { side, margin } = geometry(how);
  const resized = resize(pixels, width, height, channels, side, side, how.interpolation);
  if (side === how.size) return resized;
  return crop(resized, side, channels, margin, margin, how.size);
}

// Alpha over white, in the integers of Pillow's alpha_composite on an opaque page.
function flatten({ width, height, rgba }) {
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0, o = 0; i < rgba.length; i += 4, o += 3) {
    const alpha = rgba[i + 3];
    for (let c = 0; c < 3; c++) {
      pixels[o + c] = alpha === 255 ? rgba[i + c] : over(rgba[i + c], alpha);
    }
  }
  return { width, height, pixels };
}

// libImaging/AlphaComposite.c with a white, opaque lower layer: 7 bits of extra precision.
function over(value, alpha) {
  const coefficient = alpha * 255 * 2 ** 7 / 255;
  const mixed = value * coefficient + 255 * (255 * 2 ** 7 - coefficient);
  const shifted = mixed + (0x80 << 7);
  return ((((shifted >> 8) + shifted) >> 8) >> 7) & 255;
}

function luma(pixels) {
  const grey = new Uint8Array(pixels.length / 3);
  for (let i = 0, o = 0; o < grey.length; i += 3, o++) {
    const [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]];
    grey[o] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
  }
  return grey;
}

// EXIF orientation: [transposed, mirrored left-right, mirrored top-bottom], applied in this order.
const TURNS = {
  1: [false, false, false], 2: [false, true, false], 3: [false, true, true],
  4: [false, false, true], 5: [true, false, false], 6: [true, true, false],
  7: [true, true, true], 8: [true, false, true],
};

function upright({ width, height, pixels }, orientation) {
  const [transposed, leftRight, topBottom] = TURNS[orientation] ?? TURNS[1];
  if (!transposed && !leftRight && !topBottom) return { width, height, pixels };
  const [w, h] = transposed ? [height, width] : [width, height];
  const output = new Uint8Array(pixels.length);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const u = leftRight ? w - 1 - x : x, v = topBottom ? h - 1 - y : y;
      const from = 3 * (transposed ? u * width + v : v * width + u), to = 3 * (y * w + x);
      output[to] = pixels[from];
      output[to + 1] = pixels[from + 1];
      output[to + 2] = pixels[from + 2];
    }
  }
  return { width: w, height: h, pixels: output };
}

function crop(pixels, width, channels, left, top, side) {
  const output = new Uint8Array(side * side * channels);
  for (let y = 0; y < side; y++) {
    const start = ((top + y) * width + left) * channels;
    output.set(pixels.subarray(start, start + side * channels), y * side * channels);
  }
  return output;
}

// (size, size, C) uint8 -> (1, C, size, size) float32, rounded as float32 at every step.
export function normalise(pixels, how) {
  const f = Math.fround, area = how.size * how.size;
  const output = new Float32Array(pixels.length);
  for (let c = 0; c < how.channels; c++) {
    const mean = f(how.mean[c]), std = f(how.std[c]);
    for (let i = 0; i < area; i++) {
      const scaled = f(pixels[i * how.channels + c] / 255);
      output[c * area + i] = f(f(scaled - mean) / std);
    }
  }
  return output;
}
