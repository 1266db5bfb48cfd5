// What follows from logits and embedding, as deployment/answers.py and ood.py say it.

const f = Math.fround;

// softmax(z / T + log prior - log train_prior) in float32
export function probabilities(logits, info) {
  const q = info.classes.map((c) => info.train_prior[c]), p = info.classes.map((c) => info.prior[c]);
  const sumP = p.reduce((a, b) => a + b, 0), sumQ = q.reduce((a, b) => a + b, 0);
  const scores = logits.map((z, k) => {
    const shift = p[k] > 0 ? f(Math.log(p[k] / sumP) - Math.log(q[k] / sumQ)) : -Infinity;
    return f(f(z / f(info.temperature)) + shift);
  });
  const most = Math.max(...scores);
  const grown = scores.map((s) => f(Math.exp(f(s - most))));
  const total = f(grown.reduce((a, b) => f(a + b), 0));
  return grown.map((g) => f(g / total));
}

const named = (classes, values) => Object.fromEntries(classes.map((c, k) => [c, values[k]]));
const argmax = (values) => values.indexOf(Math.max(...values));

export function answer(info, arrays, logits, embedding, point, abstain = "ood") {
  const prob = probabilities(logits, info);
  const surroundings = info.ood ? measureDistance(info, arrays, embedding) : null;
  const conformal = {};
  for (const rule of info.conformal) {
    conformal[ruleName(rule)] = members(rule, prob);
  }
  const uniform = prob.map((p, k) => p / (info.prior[info.classes[k]] || Infinity));
  return {
    logits: named(info.classes, logits),
    probabilities: named(info.classes, prob),
    class_at_dataset_prior: info.classes[argmax(prob)],
    class_at_uniform_prior: info.classes[argmax(uniform)],
    decision: point ? decide(info, prob, point, abstain, surroundings?.ood, conformal) : null,
    conformal,
    ood: surroundings?.ood ?? null,
    similar: surroundings?.similar ?? null,
  };
}

// evaluation/class_scores.py: the same order of terms and the same rounding, so the same decision
export function scoreOf(prob, classes, score) {
  const terms = prob.filter((_, k) => score.includes(classes[k]));
  const total = terms.reduce((a, b) => a + b);
  return terms.length === 1 || total < 1e-6 ? total : halfToEven(total * 1e12) / 1e12;
}

// Math.round rounds half up, numpy.round to even
function halfToEven(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

export function pointName(point) {
  return point.target === null ? point.policy : `${point.policy} ${general(point.target)}`;
}

export function ruleName(rule) {
  return `${general(100 * (1 - rule.alpha))} %`;
}

// Python's "g" format for the few numbers that occur here
function general(value) {
  return String(Number(value.toPrecision(6)));
}

function decide(info, prob, point, abstain, ood, sets) {
  const score = scoreOf(prob, info.classes, point.score);
  let reason = "";
  if (abstain !== "none" && ood?.flagged) reason = "not like the training images";
  else if (abstain === "ood_or_set" && Object.values(sets).some((s) => bothSides(s, point))) {
    reason = "the conformal set holds classes of both sides";
  }
  const positive = reason ? null : score >= point.threshold;
  const operating_point = pointName(point);
  return { operating_point, score, threshold: point.threshold, positive, reason };
}

function bothSides(set, point) {
  return new Set(set.map((c) => point.score.includes(c))).size !== 1;
}

// Conformal scores of evaluation/conformal.py
function members(rule, prob) {
  const order = prob.map((_, k) => k).sort((a, b) => prob[b] - prob[a] || a - b);
  const scores = prob.map((p) => 1 - p);
  if (rule.method !== "lac") {
    let total = 0;
    order.forEach((k, rank) => {
      total += prob[k];
      scores[k] = total + (rule.method === "raps" ? 0.01 * Math.max(rank + 1 - 2, 0) : 0);
    });
  }
  const surest = rule.method === "lac" ? -1 : order[0]; // APS and RAPS never leave it out
  return rule.classes.filter((_, k) => (
    k === surest || scores[k] <= (rule.quantile[k] ?? Infinity) + 1e-9
  ));
}

function measureDistance(info, arrays, embedding) {
  const far = mahalanobis(arrays, info.ood.residual_scale, embedding) / info.ood.mahalanobis_threshold;
  const { distance, labels } = nearest(arrays, embedding, info.ood.k);
  const knn = distance / info.ood.knn_threshold;
  const score = Math.max(far, knn);
  const similar = {};
  for (const label of labels.slice(0, 5)) {
    const name = info.classes[label];
    similar[name] = (similar[name] ?? 0) + 1;
  }
  return { ood: { score, mahalanobis: far, knn, flagged: score > 1 }, similar };
}

function mahalanobis(arrays, residualScale, embedding) {
  const { data: mean } = arrays.ood_mean, { data: basis, shape } = arrays.ood_basis;
  const size = mean.length;
  const centred = Float64Array.from(embedding, (v, i) => v - mean[i]);
  let rest = centred.reduce((sum, v) => sum + v * v, 0), total = 0;
  for (let r = 0; r < shape[0]; r++) {
    let along = 0, length = 0;
    for (let i = 0; i < size; i++) {
      const b = basis[r * size + i];
      along += b * centred[i];
      length += b * b;
    }
    total += along * along;
    rest -= (along * along) / Math.max(length, 1e-30);
  }
  return Math.sqrt(total + Math.max(rest, 0) * residualScale ** 2);
}

// The bank's rows are unit vectors already (see npy.js unitRows).
function nearest(arrays, embedding, k) {
  const { data: bank, shape } = arrays.bank, [n, size] = shape;
  const length = Math.max(Math.sqrt(embedding.reduce((s, v) => s + v * v, 0)), 1e-12);
  const cosines = new Float64Array(n);
  for (let r = 0; r < n; r++) {
    let dot = 0;
    for (let i = 0; i < size; i++) dot += bank[r * size + i] * embedding[i];
    cosines[r] = dot / length;
  }
  const order = [...cosines.keys()].sort((a, b) => cosines[b] - cosines[a] || a - b);
  const kth = cosines[order[Math.min(k, n) - 1]];
  const labels = order.map((r) => arrays.bank_labels.data[r]);
  return { distance: Math.sqrt(Math.max(2 - 2 * kth, 0)), labels };
}
