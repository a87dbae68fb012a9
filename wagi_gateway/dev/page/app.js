/** The page: its views by the URL's fragment, its keys, and the stream of events. */
import { askForToken, follow, getJson, redeemCode, Refused, setToken, takeToken } from "./api.js";
import { byId, el, milliseconds, toast } from "./dom.js";
import { Stream } from "./stream.js";
import { showInvocation } from "./invocation.js";
import { showDiff } from "./diff.js";
import { showModules } from "./modules.js";
import { sendAgain } from "./resend.js";

const stream = new Stream((number) => { location.hash = `#/${number}`; });
let view = { name: "stream" };
let shown = 0;

function parse() {
  const words = location.hash.replace(/^#\/?/, "").split("/");
  if (words[0] === "modules") return { name: "modules" };
  if (/^\d+$/.test(words[0]) && words[1] === "diff") return { name: "diff", number: Number(words[0]), other: Number(words[2]) };
  if (/^\d+$/.test(words[0])) return { name: "invocation", number: Number(words[0]), part: words[1] };
  return { name: "stream" };
}

async function render({ keepFocus = false } = {}) {
  if (location.hash === "#main") return;
  const before = view;
  view = parse();
  const turn = ++shown;
  for (const link of document.querySelectorAll("nav a")) {
    const isCurrent = (link.dataset.view === "modules") === (view.name === "modules");
    if (isCurrent) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  byId("stream").hidden = view.name === "modules";
  byId("panes").classList.toggle("is-split", view.name === "invocation" || view.name === "diff");
  stream.open(view.number ?? null);
  const main = byId("main");
  if (view.name === "stream") { main.replaceChildren(); document.title = "Inspector · wagi-gateway"; return; }
  if (before.name === "invocation" && view.name === "invocation" && before.number === view.number && view.part) {
    byId(`part-${view.part}`)?.scrollIntoView();
    return;
  }
  try {
    const page = view.name === "modules" ? await showModules()
      : view.name === "diff" ? await showDiff(view.number, view.other)
      : await showInvocation(view.number, stream.neighbours(view.number));
    if (turn !== shown) return;
    const top = main.scrollTop;
    main.replaceChildren(page);
    document.title = `${view.number ? `#${view.number}` : "Modules"} · Inspector`;
    if (keepFocus) main.scrollTop = top;
    else { main.scrollTop = 0; window.scrollTo(0, 0); main.focus({ preventScroll: true }); }
    if (view.part) byId(`part-${view.part}`)?.scrollIntoView();
  } catch (error) {
    if (turn === shown) main.replaceChildren(el("div", { class: "page" }, el("p", { class: "fault" }, error.message)));
  }
}

function showBuild(event) {
  const build = byId("build");
  const isBad = event.type === "build" ? Boolean(event.code) : /not reloaded|failed/.test(event.text);
  build.classList.toggle("bad", isBad);
  const took = event.seconds ? ` in ${milliseconds(event.seconds)}` : "";
  build.textContent = event.type === "event" ? event.text + took
    : event.code === null ? `builds ${event.route} …`
    : event.code ? `build of ${event.route} failed (code ${event.code})` : `built ${event.route}${took}`;
  if (event.type === "event" || event.code) stream.mark(build.textContent, isBad);
}

async function onEvent(event) {
  if (event.type === "invocation") {
    stream.add(event.invocation);
    if (view.name === "invocation" && event.invocation.number === view.number && event.invocation.is_over) render({ keepFocus: true });
  } else if (event.type === "drop") stream.drop(event.number);
  else if (event.type === "clear" || event.type === "resync") await load();
  else if (event.type === "build" || event.type === "event") {
    showBuild(event);
    if (view.name === "modules") render({ keepFocus: true });
  }
}

async function load() {
  const { invocations, origin } = await getJson("invocations");
  byId("origin").href = origin;
  byId("origin").textContent = origin;
  stream.replace(invocations);
}

function link(state, text) {
  byId("link").className = `link ${state}`;
  byId("link-text").textContent = text;
}

function askAtTheDoor() {
  shown++;
  link("off", "no token");
  byId("panes").classList.remove("is-split");
  byId("stream").hidden = true;
  const field = el("input", { id: "token", "aria-label": "Token", autocomplete: "off", placeholder: "token" });
  byId("main").replaceChildren(el("div", { class: "door" },
    el("h1", {}, "This inspector needs its token"),
    el("p", {}, "Press i in the terminal of wagi-gateway dev, or open the link that it printed. The token changes with each start."),
    el("form", { onsubmit: (event) => { event.preventDefault(); setToken(field.value.replace(/.*token=/, "").trim()); location.reload(); } },
      field, el("button", { class: "primary" }, "Open"))));
}

async function live() {
  for (;;) {
    try {
      await load();
      link("on", "live");
      await follow(onEvent);
    } catch (error) {
      if (error instanceof Refused && error.status === 403) return askAtTheDoor();
    }
    link("off", "dev has stopped");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const number = view.number ?? stream.focused;
  if (event.key === "j" || event.key === "k") {
    const next = stream.move(event.key === "j" ? 1 : -1);
    if (next && view.name === "invocation") location.hash = `#/${next}`;
  } else if (event.key === "Enter" && stream.focused && !event.target.closest("a, button, summary")) location.hash = `#/${stream.focused}`;
  else if (event.key === "Escape") location.hash = "#/";
  else if (event.key === "/") { event.preventDefault(); byId("filter").focus(); }
  else if (event.key === "m") location.hash = "#/modules";
  else if (event.key === "r" && number) sendAgain(number).catch((error) => toast(error.message));
});
addEventListener("hashchange", () => { if (takeToken() && location.hash !== "#main") render(); });

const token = await redeemCode() ?? takeToken() ?? await askForToken();
if (token) {
  setToken(token);
  await Promise.all([live(), render()]);
} else askAtTheDoor();
