// The page: an image in, an answer out. What computes it is engine.js (server or browser).

import * as engine from "./engine.js";
import {
  LANGUAGES, STRINGS, className, fill, partWords, percent, pointWords, word,
} from "./strings.js";
import { drawPicture, evidence } from "./picture.js";

const $ = (id) => document.getElementById(id);
const state = {
  language: "en", models: [], model: null, file: null, bitmap: null, answer: null, turn: 0,
};
const words = () => STRINGS[state.language];

function preferred() {
  const languages = navigator.languages ?? [navigator.language];
  const first = languages.find((l) => LANGUAGES.includes(l.slice(0, 2).toLowerCase()));
  return first ? first.slice(0, 2).toLowerCase() : "en";
}

function say(text) {
  $("status").textContent = text;
}

function option(value, text) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = text;
  return element;
}

function translate() {
  document.documentElement.lang = state.language === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = words()[element.dataset.text];
  }
  $("where").textContent = words()[engine.place];
  const other = LANGUAGES[(LANGUAGES.indexOf(state.language) + 1) % LANGUAGES.length];
  $("language").textContent = STRINGS[other].name;
  $("language").lang = other === "zh" ? "zh-Hans" : "en";
  translateClinical();
  $("not").replaceChildren(...words().not.map((text) => {
    const line = document.createElement("li");
    line.textContent = text;
    return line;
  }));
  $("picture").setAttribute("aria-label", words().picture);
  if (state.answer) showAnswer();
}

// What the model reads besides the image; fields that it does not read are not shown.
function translateClinical() {
  const facts = state.model?.facts;
  $("case").hidden = !facts;
  const choices = { sex: ["female", "male"], site: facts?.sites ?? [] };
  for (const column of ["age", "sex", "site"]) {
    $(`${column}-box`).hidden = !facts?.columns.includes(column);
    if (column === "age") continue;
    const kept = $(column).value;
    const shown = (name) => words().sexes[name] ?? name;
    $(column).replaceChildren(
      option("", words().unknown), ...choices[column].map((name) => option(name, shown(name))),
    );
    $(column).value = choices[column].includes(kept) ? kept : "";
  }
}

function clinicalInputs() {
  const facts = state.model.facts;
  return Object.fromEntries((facts?.columns ?? []).map((column) => [column, $(column).value]));
}

function chooseModel(id) {
  state.model = state.models.find((m) => m.id === id);
  translateClinical();
  $("leaky").hidden = !state.model.leaky;
  $("synthetic").hidden = !state.model.synthetic;
  $("card").textContent = state.model.card;
}

async function start() {
  state.language = preferred();
  translate();
  say(words().loading);
  try {
    state.models = await engine.models();
  } catch (error) {
    if (error.status === 401) {
      $("token-box").hidden = false;
      $("token").focus();
    }
    say(fill(words().failed, error.message));
    return;
  }
  $("token-box").hidden = true;
  $("model").replaceChildren(...state.models.map((m) => option(m.id, m.name)));
  $("model-box").hidden = state.models.length < 2;
  chooseModel(state.models[0].id);
  say(`${words().ready} ${words().waiting}`);
  document.body.dataset.ready = "yes";
}

async function take(file) {
  if (!file || !state.model) return;
  if (!$("age").reportValidity()) return;
  const turn = ++state.turn;
  state.file = file;
  state.answer = null;
  $("result").hidden = true;
  $("strength").value = "0";
  say(words().working);
  try {
    const [answer, bitmap] = await Promise.all([
      engine.predict(file, state.model, clinicalInputs()),
      createImageBitmap(file).catch(() => null),
    ]);
    if (turn !== state.turn) return; // a newer image came meanwhile
    state.answer = answer;
    state.bitmap = bitmap;
    showAnswer();
    say(words().done);
    $("result").focus({ preventScroll: false });
  } catch (error) {
    if (turn !== state.turn) return;
    $("figure").hidden = true;
    say(error.status === 503
      ? fill(words().busy, error.retry || "1")
      : fill(words().failed, error.message));
  }
}

function showAnswer() {
  const { answer, model } = state;
  $("result").hidden = false;
  showOod(answer);
  showDecision(answer, model);
  $("note").hidden = !answer.note;
  $("note").textContent = answer.note ?? "";
  showBars(answer);
  $("prior").textContent = fill(words().prior, model.training.dataset);
  showSet(answer);
  showSimilar(answer);
  showMapControls(answer);
  draw();
}

function showOod(answer) {
  const far = answer.ood?.flagged ?? false;
  $("ood").hidden = !far;
  $("result").classList.toggle("far", far);
  if (far) $("ood").textContent = fill(words().ood, answer.ood.score.toFixed(1));
}

function measure(m) {
  if (!m || m.value === null) return words().undefinedMeasure;
  if (m.low === null) return fill(words().measureAlone, percent(m.value));
  return fill(words().measure, percent(m.value), percent(m.low), percent(m.high));
}

function showDecision(answer, model) {
  const decision = answer.decision;
  const box = $("decision");
  box.className = "verdict";
  if (!decision) {
    box.textContent = words().noPoint;
    $("point").textContent = model.no_operating_point;
    return;
  }
  const point = model.operating_points.find((p) => p.name === decision.operating_point);
  const names = point.score.map((c) => className(words(), c)).join(" + ");
  const values = [percent(decision.score), names, percent(decision.threshold)];
  if (decision.positive === null) {
    box.classList.add("none");
    const far = decision.reason.startsWith("not like");
    box.textContent = far ? words().abstainedOod : words().abstainedSet;
  } else {
    box.classList.add(decision.positive ? "positive" : "negative");
    box.textContent = fill(decision.positive ? words().positive : words().negative, ...values);
  }
  $("point").textContent = fill(
    words().point, pointWords(words(), point), partWords(words(), point.chosen_on),
    measure(point.sensitivity), measure(point.specificity),
  );
}

function showBars(answer) {
  const ranked = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  $("bars").replaceChildren(...ranked.map(([name, p]) => {
    const row = document.createElement("li");
    const line = document.createElement("div");
    line.className = "line";
    const label = document.createElement("span");
    label.textContent = className(words(), name);
    const value = document.createElement("span");
    value.textContent = fill("{0} %, {1}", percent(p), word(words(), p));
    line.append(label, value);
    const track = document.createElement("div");
    track.className = "track";
    track.setAttribute("aria-hidden", "true");
    const bar = document.createElement("div");
    bar.className = "fill";
    bar.style.width = `${100 * p}%`;
    track.append(bar);
    row.append(line, track);
    return row;
  }));
}

function showSet(answer) {
  const sets = Object.entries(answer.conformal ?? {});
  const lines = sets.map(([confidence, members]) => {
    const names = members.map((c) => className(words(), c)).join(words().list);
    return fill(words().set, confidence, names || words().setEmpty);
  });
  $("set").textContent = lines.join(" ") || words().noSet;
}

function showSimilar(answer) {
  const classes = Object.entries(answer.similar ?? {});
  const names = classes.map(([c, n]) => fill(words().similarOne, n, className(words(), c)));
  const text = names.join(words().list);
  $("similar").textContent = text ? fill(words().similar, text) : words().noSimilar;
}

function showMapControls(answer) {
  const classes = Object.keys(answer.cam ?? {});
  $("map-box").hidden = !classes.length;
  const kept = $("map-class").value;
  $("map-class").replaceChildren(...classes.map((c) => option(c, className(words(), c))));
  const first = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1])[0][0];
  $("map-class").value = classes.includes(kept) ? kept : first;
}

function draw() {
  $("figure").hidden = !state.bitmap;
  if (!state.bitmap) return;
  const map = evidence(state.answer.cam, $("map-class").value);
  const strength = Number($("strength").value) / 100;
  const { preprocessing, cam_offset: offset } = state.model;
  drawPicture($("picture"), state.bitmap, map, strength, preprocessing, offset);
}

function watchInputs() {
  for (const id of ["file", "photo"]) {
    $(id).addEventListener("change", (event) => {
      take(event.target.files[0]);
      event.target.value = ""; // so that the same file can be chosen again
    });
  }
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
  addEventListener("dragleave", () => $("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files][0];
    if (file) take(file);
    else if (event.target === document.body) say(words().noImage);
  });
  $("strength").addEventListener("input", draw);
  $("map-class").addEventListener("change", draw);
  $("model").addEventListener("change", (event) => {
    chooseModel(event.target.value);
    take(state.file); // the answer on the page must be this model's
  });
  for (const id of ["age", "sex", "site"]) $(id).addEventListener("change", () => take(state.file));
  $("language").addEventListener("click", () => {
    const next = LANGUAGES.indexOf(state.language) + 1;
    state.language = LANGUAGES[next % LANGUAGES.length];
    translate();
    say(state.answer ? words().done : `${words().ready} ${words().waiting}`);
  });
  $("token-box").addEventListener("submit", (event) => {
    event.preventDefault();
    engine.setToken($("token").value);
    $("token").value = "";
    start();
  });
}

watchInputs();
start();
