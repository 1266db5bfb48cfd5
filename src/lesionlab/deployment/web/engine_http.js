// The engine that asks the server this page came from. Same interface as engine_onnx.js.

export const place = "whereServer";
let token = "";

export class Refused extends Error {
  constructor(detail, status, retry = "") {
    super(detail);
    this.status = status;
    this.retry = retry;
  }
}

export function setToken(value) {
  token = value.trim();
}

async function ask(path, options = {}) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
  if (answer.ok) return answer.json();
  let detail = answer.statusText;
  try {
    detail = (await answer.json()).detail;
  } catch { /* a proxy's page */ }
  throw new Refused(detail, answer.status, answer.headers.get("retry-after") ?? "");
}

export async function models() {
  return (await ask("v1/models")).models;
}

// clinical: { age, sex, site } as text, "" where unknown
export async function predict(file, model, clinical = {}) {
  const pairs = Object.entries(clinical).filter(([, value]) => value !== "");
  const query = new URLSearchParams([["model", model.id], ["heatmap", "true"], ...pairs]);
  const result = await ask(`v1/predict?${query}`, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: file,
  });
  return result.predictions[0];
}
