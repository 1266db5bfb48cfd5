"use strict";
(function () {
  const source = document.getElementById("cloud-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const find = (id) => document.getElementById(id);
  const canvas = find("cloud"), pick = find("cloud-colour"), sprite = find("cloud-sprite");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const n = data.x.length;
  const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a400",
    "#7d3c98", "#8d6e63", "#4d4d4d", "#9aa5ad", "#c2185b"];
  const MARGIN = 0.03;
  let chosen = -1, side = 0, radius = 3, drawn = null;

  const colour = (code) => (code < 0 ? "#9aa5ad" : PALETTE[code % PALETTE.length]);
  const place = (v) => (MARGIN + (1 - 2 * MARGIN) * v / 1000) * side;

  function legend() {
    const by = data.colours[pick.value];
    const counts = by.names.map(() => 0);
    by.codes.forEach((c) => { if (c >= 0) counts[c] += 1; });
    const list = find("cloud-legend");
    list.textContent = "";
    by.names.forEach((name, i) => {
      if (!counts[i]) return;
      const item = document.createElement("li"), dot = document.createElement("span");
      dot.style.background = colour(i);
      item.append(dot, name + " (" + counts[i].toLocaleString("en-US") + ")");
      list.append(item);
    });
  }

  function scatter() {
    const ratio = window.devicePixelRatio || 1;
    side = Math.round(canvas.getBoundingClientRect().width * ratio);
    if (!side) return requestAnimationFrame(scatter); // not laid out yet
    canvas.width = canvas.height = side;
    radius = ratio * (n > 4000 ? 1.6 : n > 1000 ? 2.4 : 3.6);
    const codes = data.colours[pick.value].codes;
    pen.globalAlpha = 0.8;
    for (let i = 0; i < n; i += 1) {
      pen.fillStyle = colour(codes[i]);
      pen.beginPath();
      pen.arc(place(data.x[i]), place(1000 - data.y[i]), radius, 0, 2 * Math.PI);
      pen.fill();
    }
    pen.globalAlpha = 1;
    drawn = pen.getImageData(0, 0, side, side);
    mark();
  }

  function mark() {
    if (drawn) pen.putImageData(drawn, 0, 0);
    if (chosen < 0) return;
    pen.lineWidth = 2 * (window.devicePixelRatio || 1);
    pen.strokeStyle = getComputedStyle(document.body).color;
    pen.beginPath();
    pen.arc(place(data.x[chosen]), place(1000 - data.y[chosen]), 2.4 * radius + 2, 0, 2 * Math.PI);
    pen.stroke();
  }

  function show(i) {
    if (i === chosen) return;
    chosen = i;
    mark();
    const card = find("cloud-card"), pad = find("cloud-thumb").getContext("2d");
    card.hidden = i < 0;
    if (i < 0) return;
    const t = data.thumb, column = i % data.columns, row = Math.floor(i / data.columns);
    pad.clearRect(0, 0, 128, 128);
    pad.drawImage(sprite, column * t, row * t, t, t, 0, 0, 128, 128);
    const words = data.colours.map((by) => by.name + ": " + (by.codes[i] < 0 ? "–" : by.names[by.codes[i]]));
    const text = [data.ids[i]].concat(words);
    find("cloud-text").textContent = text.join("\n");
    find("cloud-live").textContent = text.join(", ");
  }

  function nearest(px, py, reach) {
    let best = -1, least = reach * reach;
    for (let i = 0; i < n; i += 1) {
      const dx = place(data.x[i]) - px, dy = place(1000 - data.y[i]) - py, d = dx * dx + dy * dy;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }

  function pointed(event) {
    const box = canvas.getBoundingClientRect(), ratio = side / box.width;
    return nearest((event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio, 14 * ratio);
  }

  // The nearest point within a quarter turn around the direction of the arrow.
  function walk(dx, dy) {
    if (chosen < 0) return show(nearest(side / 2, side / 2, 2 * side));
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i += 1) {
      const x = data.x[i] - data.x[chosen], y = data.y[i] - data.y[chosen];
      const along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx);
      if (i === chosen || along <= 0 || across > along) continue;
      if (along + across < least) { least = along + across; best = i; }
    }
    if (best >= 0) show(best);
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  canvas.addEventListener("mousemove", (event) => { const i = pointed(event); if (i >= 0) show(i); });
  canvas.addEventListener("click", (event) => { const i = pointed(event); if (i >= 0) show(i); });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(-1);
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    walk(...ARROWS[event.key]);
  });
  pick.addEventListener("change", () => { legend(); scatter(); });
  window.addEventListener("resize", scatter);
  legend();
  scatter();
})();
