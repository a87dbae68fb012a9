/** Two requests compared part by part. */
import { getJson } from "./api.js";
import { asText, decode, hex } from "./bytes.js";
import { counted, el } from "./dom.js";

const MAX_LINES = 2000;
const CONTEXT = 3;

/** The lines of two texts as pairs of a sign (" ", "-", "+") and a line: a longest common subsequence. */
export function compare(before, after) {
  let [a, b] = [before.slice(0, MAX_LINES), after.slice(0, MAX_LINES)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const head = a.slice(0, start).map((line) => [" ", line]);
  const tail = end ? a.slice(-end).map((line) => [" ", line]) : [];
  a = a.slice(start, a.length - end);
  b = b.slice(start, b.length - end);
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--)
    table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const middle = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { middle.push([" ", a[i]]); i++; j++; }
    else if (j >= b.length || (i < a.length && table[i + 1][j] >= table[i][j + 1])) middle.push(["-", a[i++]]);
    else middle.push(["+", b[j++]]);
  }
  return [...head, ...middle, ...tail];
}

const lines = (stream) => { const data = decode(stream.base64); return (asText(data) ?? hex(data)).split("\n"); };
const PARTS = [
  ["Request", (one) => [one.request.line, ...one.request.headers.map(([name, value]) => `${name}: ${value}`)]],
  ["Request body", (one) => lines(one.stdin)],
  ["Environment", (one) => one.environ.map((variable) => `${variable.name}=${variable.value}`)],
  ["Arguments", (one) => one.argv.items],
  ["Standard output", (one) => lines(one.stdout)],
  ["Standard error", (one) => lines(one.stderr)],
  ["Files", (one) => one.files.map((file) => `${file.path} ${file.mode} ${file.error}`)],
  ["Response", (one) => [String(one.response.status), ...one.response.headers.map(([name, value]) => `${name}: ${value}`), `${one.response.size} bytes`]],
  ["End", (one) => [one.end.text, one.end.error, one.end.failure].filter(Boolean)],
  ["Module", (one) => [one.source, one.module.digest, `build ${one.module.build}`]],
  ["Timings", (one) => Object.entries(one.marks).map(([name, ms]) => `${name} ${ms.toFixed(2)} ms`)],
];

export async function showDiff(number, other) {
  const [after, before] = await Promise.all([getJson(`invocations/${number}`), getJson(`invocations/${other}`)]);
  return el("article", { class: "page" },
    el("a", { class: "back", href: `#/${number}` }, "← Request"),
    el("div", { class: "title" }, el("h1", {}, "From ", el("a", { href: `#/${other}` }, `#${other}`), " to ", el("a", { href: `#/${number}` }, `#${number}`))),
    PARTS.map(([title, take]) => part(title, compare(take(before), take(after)))));
}

function part(title, found) {
  const count = found.filter(([sign]) => sign !== " ").length;
  const near = found.map((_, at) => found.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).some(([sign]) => sign !== " "));
  const rows = [];
  found.forEach(([sign, line], at) => {
    if (near[at]) rows.push(el(sign === "-" ? "del" : sign === "+" ? "ins" : "span", {}, line || " "));
    else if (at && near[at - 1]) rows.push(null);
  });
  return el("section", { class: "part" }, el("h2", {}, title, el("small", {}, count ? `${counted(count, "line")} differ${count === 1 ? "s" : ""}` : "the same")),
    count ? el("div", { class: "card diff" }, rows.map((row) => row === null ? el("div", { class: "skip-line" }, "…")
      : el("div", { class: row.tagName === "DEL" ? "del" : row.tagName === "INS" ? "add" : "" },
        row.tagName === "DEL" ? "− " : row.tagName === "INS" ? "+ " : "  ", row.textContent))) : null);
}
