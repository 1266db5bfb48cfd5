// PNG where the browser's own decoder is no help: greys of 16 bits, and the embedded profile.

// -> [{ kind, data }] up to the end of the file or its damage
export function chunksOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), found = [];
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) break;
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    found.push({ kind, data: bytes.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return found;
}

export async function inflated(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The profile of an iCCP chunk; null where there is none.
export async function profileOf(bytes) {
  const chunk = chunksOf(bytes).find((c) => c.kind === "iCCP");
  const end = chunk ? chunk.data.indexOf(0) : -1;
  if (end < 0) return null;
  return inflated([chunk.data.subarray(end + 2)]).catch(() => null);
}

// The values of a grey PNG of 16 bits that is not interlaced: Uint16Array of width * height.
export async function deepGreys(bytes, width, height) {
  const packed = chunksOf(bytes).filter((c) => c.kind === "IDAT").map((c) => c.data);
  const rows = await inflated(packed), line = 2 * width;
  if (rows.length < height * (line + 1)) throw new Error("too few rows");
  const values = new Uint16Array(width * height);
  let above = new Uint8Array(line);
  for (let y = 0; y < height; y++) {
    const start = y * (line + 1) + 1, row = rows.subarray(start, start + line);
    unfilter(rows[start - 1], row, above);
    for (let x = 0; x < width; x++) values[y * width + x] = (row[2 * x] << 8) | row[2 * x + 1];
    above = row;
  }
  return values;
}

// In place, two bytes a pixel.
function unfilter(filter, row, above) {
  for (let i = 0; i < row.length; i++) {
    const left = i > 1 ? row[i - 2] : 0, up = above[i], corner = i > 1 ? above[i - 2] : 0;
    row[i] += [0, left, up, (left + up) >> 1, filter === 4 ? paeth(left, up, corner) : 0][filter];
  }
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const a = Math.abs(guess - left), b = Math.abs(guess - up), c = Math.abs(guess - corner);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
