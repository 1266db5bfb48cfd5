// Plain .npy files, format 1.0: float32, float16, int16.

const READERS = {
  "<f4": (buffer) => new Float32Array(buffer),
  "<i2": (buffer) => new Int16Array(buffer),
  "<f2": (buffer) => Float32Array.from(new Uint16Array(buffer), half),
};

export function readNpy(buffer) {
  const view = new DataView(buffer);
  if (view.getUint8(6) !== 1) throw new Error("an array of another version");
  const length = view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, 10, length));
  const dtype = /'descr': '([^']+)'/.exec(header)[1];
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").filter((s) => s.trim());
  if (!(dtype in READERS) || !header.includes("'fortran_order': False")) {
    throw new Error(`an array of ${dtype}`);
  }
  return { shape: shape.map(Number), data: READERS[dtype](buffer.slice(10 + length)) };
}

// IEEE 754 binary16
export function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function unitRows({ shape, data }) {
  const [n, size] = shape, output = new Float32Array(data.length);
  for (let r = 0; r < n; r++) {
    const row = data.subarray(r * size, (r + 1) * size);
    const length = Math.max(Math.sqrt(row.reduce((s, v) => s + v * v, 0)), 1e-12);
    row.forEach((v, i) => { output[r * size + i] = v / length; });
  }
  return { shape, data: output };
}
