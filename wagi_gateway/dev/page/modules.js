/** The modules: interface, limits beside what was used, and the last build. */
import { getJson, post } from "./api.js";
import { scrollable } from "./bytes.js";
import { bytes, clock, counted, el, milliseconds, rows, toast } from "./dom.js";

export async function showModules() {
  const { modules } = await getJson("modules");
  const rebuild = async (event) => {
    event.target.disabled = true;
    try { await post("rebuild"); } catch (error) { toast(error.message); }
    event.target.disabled = false;
  };
  return el("article", { class: "page" },
    el("div", { class: "title" }, el("h1", {}, "Modules"), el("button", { class: "primary", onclick: rebuild }, "Rebuild all")),
    modules.length ? modules.map(module) : el("p", { class: "soft" }, "No module is served: the configuration has none, or cannot be loaded yet."));
}

const yes = (value, present, absent) => value === null ? null : el("span", { class: `tag ${value ? "kept" : "dropped"}` }, value ? present : absent);
const amount = (use, value) => value === null || value === undefined ? "—" : use.unit === "s" ? milliseconds(value) : bytes(value);

function module(one) {
  return el("section", { class: "module", "aria-label": one.route },
    el("h2", {}, one.route),
    el("p", { class: "facts" }, el("span", {}, one.source), el("span", {}, bytes(one.size)), el("span", { class: "mono" }, one.digest.slice(0, 19)),
      yes(one.has_lines, "line numbers", "no line numbers: build with -g"), yes(one.has_names, "function names", "no function names"),
      el("span", {}, counted(one.count, "request"))),
    el("div", { class: "two" },
      el("div", { class: "card limits" }, el("h3", {}, "Limits, and what was used"), table("Limits", ["Limit", "Allowed", "Median", "Highest"], true,
        one.uses.map((use) => [`limits.${use.name}`, amount(use, use.limit), amount(use, use.median), amount(use, use.max)]))),
      el("div", { class: "card" }, el("h3", {}, "Routes and rights"), table("Routes and rights", ["What", "Detail"], false, [
        ...one.routes.map((route) => [route.route, route.entrypoint]),
        ...one.volumes.map((volume) => [`volume ${volume.guest}`, volume.read_only ? "may read" : "may write"]),
        ...(one.allowed_hosts.length ? one.allowed_hosts.map((host) => ["may call", host]) : [["may call", "nothing"]])]))),
    build(one.build),
    el("details", {}, el("summary", {}, `${counted(one.imports.length, "import")}, ${counted(one.exports.length, "export")}`),
      scrollable(el("pre", {}, [...one.imports.map((text) => `import ${text}`), ...one.exports.map((text) => `export ${text}`)].join("\n")), "Imports and exports")));
}

function table(label, headings, isHeaded, lines) {
  return rows(label, lines.map(([name, ...cells]) => el("tr", {}, el("th", { scope: "row" }, name), cells.map((cell) => el("td", {}, cell)))), headings, isHeaded);
}

function build(result) {
  if (!result) return null;
  const state = result.seconds === null ? "builds …" : result.code ? `failed with code ${result.code}` : `built in ${milliseconds(result.seconds)}`;
  return el("div", { class: "card" }, el("h3", {}, `${result.command} — ${state}, ${clock(result.began)}`),
    result.output ? scrollable(el("pre", { class: "as-is" }, ansi(result.output)), "Output of the build") : el("p", { class: "same" }, "no output"));
}

/** Text with the colours of SGR sequences; every other escape sequence is dropped. */
export function ansi(text) {
  const nodes = [];
  let classes = [];
  for (const part of text.split(/(\x1b\[[0-9;?]*[ -/]*[@-~])/)) {
    const codes = part.match(/^\x1b\[([\d;]*)m$/);
    if (codes) {
      for (const code of codes[1].split(";").map(Number)) classes = code === 0 ? [] : [...new Set([...classes, `ansi${code}`])].slice(-8);
    } else if (part && !part.startsWith("\x1b")) nodes.push(el("span", { class: classes.join(" ") }, part));
  }
  return nodes;
}
