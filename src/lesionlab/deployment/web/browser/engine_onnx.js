// The engine inside the browser. Same interface as engine_http.js; no image leaves the device.

import * as ort from "../vendor/ort/ort.wasm.min.mjs";
import { answer, pointName, ruleName } from "./answers.js";
import { encodeClinical } from "./clinical_inputs.js";
import { decode, start as startDecoder } from "./decode.js";
import { readNpy, unitRows } from "./npy.js";
import { normalise, prepare } from "./prepare.js";

export const place = "whereBrowser";
const at = (path) => new URL(`../${path}`, import.meta.url).href;
const ARRAYS = ["bank", "bank_labels", "ood_mean", "ood_basis"];
const loaded = {};

export function setToken() { /* there is no server */ }

async function bytes(name, info) {
  const answer = await fetch(at(`bundle/${name}`));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  const buffer = await answer.arrayBuffer();
  const hash = await sha256(buffer);
  if (hash && hash !== info.files[name].sha256) throw new Error(`${name} is damaged: load again`);
  return buffer;
}

// null where the page has no secure context (plain http from another machine)
async function sha256(buffer) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", buffer));
  return [...digest].map((b) => b.toString(16).padStart(2, "0")).join("");
}

export async function models() {
  // Optional: without it the page works, but not without a network.
  navigator.serviceWorker?.register(at("sw.js")).catch(() => {});
  const info = await (await fetch(at("bundle/bundle.json"))).json();
  ort.env.wasm.wasmPaths = at("vendor/ort/");
  ort.env.wasm.numThreads = 1; // threads need headers that a static host does not send
  const [model, card, ...arrays] = await Promise.all([
    bytes("model.onnx", info),
    bytes("MODEL_CARD.md", info),
    ...ARRAYS.filter((a) => `${a}.npy` in info.files).map((a) => bytes(`${a}.npy`, info)),
    startDecoder(at("vendor/jpeg/codec/dec/mozjpeg_dec.wasm")),
  ]);
  loaded.info = info;
  loaded.arrays = readArrays(info, arrays);
  loaded.session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  await selfTest();
  return [{
    id: "bundle", ...info, needs_region: info.training.regions,
    no_operating_point: info.no_operating_point ?? "",
    operating_points: info.operating_points.map((p) => ({ name: pointName(p), ...p })),
    conformal: info.conformal.map((c) => ({ name: ruleName(c), ...c })),
    card: new TextDecoder().decode(card),
  }];
}

function readArrays(info, buffers) {
  const names = ARRAYS.filter((a) => `${a}.npy` in info.files);
  const arrays = Object.fromEntries(names.map((name, i) => [name, readNpy(buffers[i])]));
  if (arrays.bank) arrays.bank = unitRows(arrays.bank);
  return arrays;
}

// The picture of deployment/predictor.py: the runtime must say what it said at the export.
async function selfTest() {
  const { preprocessing: how, self_test: expected, precision } = loaded.info;
  const pixels = new Uint8Array(how.size * how.size * how.channels);
  for (let y = 0; y < how.size; y++) {
    for (let x = 0; x < how.size; x++) {
      const values = [x * 7 + y * 3, x * 2 + y * 5, x * y];
      for (let c = 0; c < how.channels; c++) {
        pixels[(y * how.size + x) * how.channels + c] = values[c] % 256;
      }
    }
  }
  const { logits } = await run(pixels, {});
  const limit = (precision === "int8" ? 0.5 : 1e-3) * Math.max(1, ...expected.map(Math.abs));
  const difference = Math.max(...expected.map((w, k) => Math.abs(w - logits[k])));
  if (!(difference <= limit)) throw new Error(`the self-test differs by ${difference}`);
}

async function run(pixels, clinical) {
  const { info, session } = loaded, how = info.preprocessing;
  const shape = [1, how.channels, how.size, how.size];
  const feeds = { images: new ort.Tensor("float32", normalise(pixels, how), shape) };
  if (info.facts) {
    const facts = encodeClinical(clinical, info.facts);
    feeds.facts = new ort.Tensor("float32", facts, [1, facts.length]);
  }
  const out = await session.run(feeds);
  return {
    logits: [...out.logits.data],
    embedding: [...out.embedding.data],
    cam: out.cam ? maps(info.classes, out.cam) : undefined,
  };
}

function maps(classes, { data, dims: [, , rows, columns] }) {
  return Object.fromEntries(classes.map((name, k) => [
    name,
    Array.from({ length: rows }, (_, y) => {
      const start = (k * rows + y) * columns;
      return [...data.slice(start, start + columns)];
    }),
  ]));
}

// What the network is shown of a file: (size, size, C) bytes. Tests compare it with Python's.
export async function pixelsOf(file) {
  const { image, orientation } = await decode(file, loaded.info.training.depth ?? 16);
  return prepare(image, orientation, loaded.info.preprocessing);
}

export async function predict(file, model, clinical = {}) {
  const { info, arrays } = loaded;
  if (info.training.regions) throw new Error("this model has learnt from regions: use a program");
  const { logits, embedding, cam } = await run(await pixelsOf(file), clinical);
  const result = answer(info, arrays, logits, embedding, info.operating_points[0] ?? null);
  return { name: file.name ?? "", ...result, cam };
}
