/** Calls of the inspector's API. The token is a header field: a cookie would be shared with the guests' port. */
const KEY = "inspector-token";
const channel = new BroadcastChannel("inspector");

export function takeToken() {
  const found = location.hash.match(/[#&]token=([\w-]+)/);
  if (found) {
    sessionStorage.setItem(KEY, found[1]);
    history.replaceState(null, "", "/#/");
  }
  return sessionStorage.getItem(KEY);
}

/** The token for the code in the URL, which `i` in the terminal has opened: other users see the URL of a command line. */
export async function redeemCode() {
  const found = location.hash.match(/[#&]code=([\w-]+)/);
  if (!found) return null;
  history.replaceState(null, "", "/#/");
  const response = await fetch("/api/token", { headers: { "x-inspector-code": found[1] } });
  if (response.ok) setToken(await response.text());
  return response.ok ? sessionStorage.getItem(KEY) : null;
}

export function setToken(token) { sessionStorage.setItem(KEY, token); }

/** The token of another open page of this inspector: only pages of this origin can answer. */
export function askForToken() {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), 400);
    channel.addEventListener("message", (event) => {
      if (event.data.token) { clearTimeout(timer); resolve(event.data.token); }
    });
    channel.postMessage({ wants: "token" });
  });
}

channel.addEventListener("message", (event) => {
  const token = sessionStorage.getItem(KEY);
  if (event.data.wants === "token" && token) channel.postMessage({ token });
});

export class Refused extends Error {
  constructor(status, text) { super(text.trim() || `status ${status}`); this.status = status; }
}

async function call(path, options = {}) {
  const headers = { "x-inspector-token": sessionStorage.getItem(KEY) ?? "", ...options.headers };
  const response = await fetch(`/api/${path}`, { ...options, headers });
  if (!response.ok) throw new Refused(response.status, await response.text());
  return response;
}

export const getJson = async (path) => (await call(path)).json();
export const getText = async (path) => (await call(path)).text();
export const remove = (path) => call(path, { method: "DELETE" });
export async function post(path, document = {}) {
  const response = await call(path, { method: "POST", body: JSON.stringify(document) });
  return response.status === 204 ? null : response.json();
}

/** Calls `onEvent` with each event (Server-Sent Events), until the connection ends. */
export async function follow(onEvent) {
  const response = await call("events");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (pending + value).split("\n\n");
    pending = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) onEvent(JSON.parse(part.slice(6)));
  }
}
