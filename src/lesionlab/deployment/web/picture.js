// The image with a heat map over it. Nothing here computes an answer.

import { viewOf } from "./view.js";

const LARGEST = 900; // pixels of the longer side

// how: the model's preprocessing, which says what of the image the network saw; offset: how far
// down and right of equal parts of the view the places of the map lie, in places.
export function drawPicture(canvas, bitmap, map, strength, how, offset) {
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  if (!map || strength === 0) return;
  const view = viewOf(bitmap.width, bitmap.height, how);
  const across = canvas.width / bitmap.width, down = canvas.height / bitmap.height;
  const seen = [view.left * across, view.top * down, view.width * across, view.height * down];
  const moved = placed(map, seen, offset);
  context.save();
  context.beginPath();
  context.rect(...seen);
  context.clip(); // what an offset moves over the edge is not shown
  context.globalAlpha = strength;
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(heat(moved.map), ...moved.place);
  context.restore();
}

// The map and its place [left, top, width, height] where the view's is `seen`. An offset needs
// places around it: what moves in at an edge is the place at that edge, as in heatmap.py.
// Bundles of version 1 name no offset.
export function placed(map, seen, [down, right] = [0, 0]) {
  const around = Math.ceil(Math.max(Math.abs(down), Math.abs(right)));
  const [left, top, width, height] = seen;
  const across = width / map[0].length, below = height / map.length;
  return {
    map: wider(map, around),
    place: [
      left + (right - around) * across, top + (down - around) * below,
      width + 2 * around * across, height + 2 * around * below,
    ],
  };
}

function wider(map, around) {
  const edge = (values) => [
    ...Array(around).fill(values[0]), ...values, ...Array(around).fill(values.at(-1)),
  ];
  return edge(map.map(edge));
}

// What speaks for one class against the mean of the others: a constant over all classes changes
// no probability, so it must not show. Python's: deployment/heatmap.py.
export function evidence(cam, name) {
  if (!cam) return null;
  const others = Object.keys(cam).filter((other) => other !== name);
  return cam[name].map((row, y) => row.map((value, x) => (
    value - others.reduce((sum, other) => sum + cam[other][y][x], 0) / others.length
  )));
}

// Positive evidence only, scaled to its largest value, from transparent over violet to yellow.
export function heat(map) {
  const rows = map.length, columns = map[0].length;
  const most = Math.max(1e-9, ...map.flat());
  const grid = document.createElement("canvas");
  grid.width = columns;
  grid.height = rows;
  const context = grid.getContext("2d");
  const image = context.createImageData(columns, rows);
  map.flat().forEach((value, i) => {
    const v = Math.max(0, value) / most;
    image.data.set([colour(v, 60, 235), colour(v, 10, 200), colour(v, 130, 40), 255 * v], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return grid;
}

function colour(v, low, high) {
  return Math.round(low + (high - low) * v);
}
