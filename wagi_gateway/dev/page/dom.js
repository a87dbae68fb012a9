/** Elements from values: text is always text, never markup. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

let timer;
export function toast(text) {
  byId("toast").textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => { byId("toast").textContent = ""; }, 3500);
}

export function milliseconds(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const ms = seconds * 1000;
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function bytes(size) {
  if (size === null || size === undefined) return "";
  if (size < 1024) return `${size} B`;
  const units = ["KiB", "MiB", "GiB"];
  let at = -1;
  do { size /= 1024; at++; } while (size >= 1024 && at < 2);
  return `${size.toFixed(1).replace(/\.0$/, "")} ${units[at]}`;
}

export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

export function pill(one) {
  if (!one.is_over && !one.status) return el("span", { class: "pill runs" }, "runs");
  return el("span", { class: `pill s${String(one.status)[0]}` }, String(one.status || "–"));
}

/** A name or path that breaks after "_" and "/" in a narrow column. */
export const breakable = (name) => name.split(/(?<=[_/])/).flatMap((part) => [part, el("wbr")]);

/** A table of rows of cells, the first of which names the row. */
export function rows(label, pairs, headings, isHeaded = false) {
  return el("table", {},
    el("caption", { class: "hidden" }, label),
    el("thead", { class: isHeaded ? "" : "hidden" }, el("tr", {}, headings.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, pairs));
}
