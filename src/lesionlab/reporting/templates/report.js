"use strict";
(function () {
  const source = document.getElementById("explorer-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const find = (id) => document.getElementById(id);
  const slider = find("threshold");
  const prevalenceBox = find("prevalence");
  let scale = "linear";
  let index = nearest(data.start);
  let prevalence = data.prevalence;

  // The grid holds every threshold that can be shown, with counts made by the evaluation itself.
  function nearest(t) {
    let low = 0;
    let high = data.t.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (data.t[middle] <= t) low = middle; else high = middle;
    }
    return t - data.t[low] <= data.t[high] - t ? low : high;
  }

  const logit = (v) => Math.log(v / (1 - v));
  const clip = (v, a, b) => Math.min(Math.max(v, a), b);

  function place(frame, t) { // threshold -> share of the axis
    if (frame.kind === "linear") return clip((t - frame.low) / (frame.high - frame.low), 0, 1);
    const a = logit(frame.low), b = logit(frame.high);
    return (logit(clip(t, frame.low, frame.high)) - a) / (b - a);
  }
  function threshold(frame, share) { // share of the axis -> threshold
    if (frame.kind === "linear") return frame.low + share * (frame.high - frame.low);
    const a = logit(frame.low), b = logit(frame.high);
    return 1 / (1 + Math.exp(-(a + share * (b - a))));
  }
  const rate = (v) => (Number.isFinite(v) ? v.toFixed(3) : "–");
  const count = (v) => v.toLocaleString("en-US");
  const range = (r, n = 3) => (r ? r[0].toFixed(n) + "–" + r[1].toFixed(n) : "");
  // Limits of the ratio of both error rates were made by the evaluation; null is infinite.
  const bayes = (r, odds) => r && [r[1] === null ? 0 : 1 / (1 + r[1] * odds), 1 / (1 + r[0] * odds)];
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, k) => (k in values ? values[k] : all));

  function predictive(se, sp) {
    const tp = se * prevalence, fp = (1 - sp) * (1 - prevalence);
    const fn = (1 - se) * prevalence, tn = sp * (1 - prevalence);
    return { tp, fp, fn, ppv: tp / (tp + fp), npv: tn / (tn + fn) };
  }

  function update() {
    const t = data.t[index];
    const tp = data.tp[index], fp = data.fp[index];
    const fn = data.positives - tp, tn = data.negatives - fp;
    const se = tp / data.positives, sp = tn / data.negatives;
    const p = predictive(se, sp);
    find("ex-tp").textContent = count(tp);
    find("ex-fn").textContent = count(fn);
    find("ex-fp").textContent = count(fp);
    find("ex-tn").textContent = count(tn);
    find("ex-sensitivity").textContent = rate(se);
    find("ex-specificity").textContent = rate(sp);
    find("ex-ppv").textContent = rate(p.ppv);
    find("ex-npv").textContent = Number.isFinite(p.npv) ? p.npv.toFixed(4) : "–";
    find("ex-ppv-interval").textContent = range(bayes(data.ppv[index], (1 - prevalence) / prevalence));
    find("ex-npv-interval").textContent = range(bayes(data.npv[index], prevalence / (1 - prevalence)), 4);
    find("ex-sensitivity-interval").textContent = range(data.sensitivity[index]);
    find("ex-specificity-interval").textContent = range(data.specificity[index]);
    const shown = String(Number(t.toPrecision(4)));
    find("threshold-value").textContent = shown;
    const says = fill(data.words.threshold_says, { t: shown, se: rate(se), sp: rate(sp) });
    slider.setAttribute("aria-valuetext", says);
    find("ex-live").textContent = says;
    find("ex-frequency").textContent = frequency(p);
    for (const [kind, frame] of Object.entries(data.frames)) move(kind, frame, t);
    dot("explorer-roc-dot", data.roc.roc, 1 - sp, se);
    dot("explorer-mirror-dot", data.roc.mirror, se, sp);
  }
  function frequency(p) {
    if (!(p.tp + p.fp > 0)) return data.words.nobody;
    const of = (v) => (1000 * v >= 1 ? Math.round(1000 * v).toString() : (1000 * v).toFixed(1));
    return fill(data.words.frequency, { p: of(prevalence), tp: of(p.tp), fn: of(p.fn), fp: of(p.fp) });
  }
  function move(kind, frame, t) {
    const x = frame.left + frame.width * place(frame, t);
    find("explorer-" + kind + "-handle").setAttribute("transform", "translate(" + x.toFixed(1) + " 0)");
    const window_ = document.querySelector("#explorer-" + kind + "-clip rect");
    window_.setAttribute("x", x.toFixed(1));
    window_.setAttribute("width", Math.max(frame.left + frame.width - x, 0).toFixed(1));
  }
  function dot(id, frame, x, y) {
    const a = frame.left + frame.width * x, b = frame.top + frame.height * (1 - y);
    find(id).setAttribute("transform", "translate(" + a.toFixed(1) + " " + b.toFixed(1) + ")");
  }
  function setSlider() { slider.value = Math.round(1000 * place(data.frames[scale], data.t[index])); }
  function go(i) { index = i; setSlider(); update(); }

  slider.addEventListener("input", () => {
    index = nearest(threshold(data.frames[scale], slider.value / 1000));
    update();
  });
  // Arrow keys step through the grid itself: every threshold that the table holds can be reached.
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 25, PageDown: -25 };
  slider.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    go(clip(index + steps[event.key], 0, data.t.length - 1));
  });
  for (const figure of document.querySelectorAll("figure.histogram")) {
    const svg = figure.querySelector("svg");
    const drag = (event) => {
      const frame = data.frames[figure.dataset.scale];
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      go(nearest(threshold(frame, clip((x - frame.left) / frame.width, 0, 1))));
    };
    svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); drag(event); });
    svg.addEventListener("pointermove", (event) => { if (svg.hasPointerCapture(event.pointerId)) drag(event); });
  }
  for (const radio of document.querySelectorAll("input[name=scale]")) {
    radio.addEventListener("change", () => {
      scale = radio.value;
      for (const figure of document.querySelectorAll("figure.histogram")) figure.hidden = figure.dataset.scale !== scale;
      setSlider();
    });
  }
  for (const button of document.querySelectorAll(".go-locked")) {
    button.addEventListener("click", () => go(nearest(data.locked[Number(button.dataset.index)])));
  }
  function setPrevalence(value, box) {
    if (!(value > 0 && value < 1)) return;
    prevalence = value;
    if (box) prevalenceBox.value = Number((100 * value).toPrecision(3));
    update();
  }
  prevalenceBox.addEventListener("input", () => setPrevalence(Number(prevalenceBox.value) / 100, false));
  for (const button of document.querySelectorAll(".set-prevalence")) {
    button.addEventListener("click", () => setPrevalence(Number(button.dataset.value), true));
  }
  setSlider();
  setPrevalence(prevalence, true);
})();
