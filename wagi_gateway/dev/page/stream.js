/** The list of requests: rows as they come, a filter, and a row that the keys move. */
import { remove } from "./api.js";
import { byId, bytes, clock, el, milliseconds, pill, toast } from "./dom.js";
import { saveHar } from "./har.js";

const MAX_MARKERS = 50;

export class Stream {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.invocations = new Map();
    this.markers = [];
    this.focused = null;
    this.opened = null;
    this.isPaused = false;
    byId("filter").addEventListener("input", () => this.draw());
    byId("status").addEventListener("change", () => this.draw());
    byId("tools").addEventListener("submit", (event) => event.preventDefault());
    byId("pause").addEventListener("click", () => {
      this.isPaused = !this.isPaused;
      byId("pause").setAttribute("aria-pressed", String(this.isPaused));
      this.draw();
    });
    byId("har").addEventListener("click", () => saveHar(this.shown.length ? this.shown.map((one) => one.number) : [0]).catch((error) => toast(error.message)));
    byId("clear").addEventListener("click", () => remove("invocations"));
    byId("rows").addEventListener("click", (event) => {
      const number = event.target.closest("tr")?.dataset.number;
      if (number) this.onOpen(Number(number));
    });
  }

  replace(list) {
    this.invocations = new Map(list.map((one) => [one.number, one]));
    if (!list.length) this.markers = [];
    this.draw();
  }

  add(one) {
    const isNew = !this.invocations.has(one.number);
    this.invocations.set(one.number, one);
    if (one.is_over) byId("live").textContent = `Request ${one.number}: ${one.method} ${one.path}, status ${one.status}, ${one.end}`;
    const row = isNew ? null : byId("rows").querySelector(`tr[data-number="${one.number}"]`);
    if (this.isPaused) return;
    if (row && this.matches(one)) row.replaceWith(this.row(one)); else this.draw();
  }

  drop(number) {
    this.invocations.delete(number);
    byId("rows").querySelector(`tr[data-number="${number}"]`)?.remove();
  }

  mark(text, isBad) {
    const after = Math.max(0, ...this.invocations.keys());
    this.markers = [...this.markers, { after, text, isBad }].slice(-MAX_MARKERS);
    this.draw();
  }

  matches(one) {
    const status = byId("status").value;
    if (status === "bad" ? !one.is_bad : status && String(one.status)[0] !== status) return false;
    const text = `${one.method} ${one.path}?${one.query} ${one.route} ${one.end} #${one.number} ${one.status}`.toLowerCase();
    return byId("filter").value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  get shown() { return [...this.invocations.values()].filter((one) => this.matches(one)).reverse(); }

  neighbours(number) {
    const one = this.invocations.get(number);
    return [...this.invocations.values()].filter((other) => other.number !== number)
      .sort((a, b) => (b.route === one?.route) - (a.route === one?.route) || b.number - a.number);
  }

  draw() {
    if (this.isPaused) return;
    const shown = this.shown;
    const rows = [];
    let markers = [...this.markers];
    for (const one of shown) {
      const above = markers.filter((marker) => marker.after >= one.number);
      markers = markers.filter((marker) => marker.after < one.number);
      rows.push(...above.reverse().map(markerRow), this.row(one));
    }
    if (shown.length) rows.push(...markers.reverse().map(markerRow));
    byId("rows").replaceChildren(...rows);
    byId("empty").hidden = this.invocations.size > 0;
    byId("list").hidden = !this.invocations.size;
  }

  row(one) {
    const states = [one.is_bad && "is-bad", one.number === this.opened && "is-open", one.number === this.focused && "is-focus"];
    return el("tr", { "data-number": one.number, class: states.filter(Boolean).join(" ") },
      el("td", {}, el("a", { href: `#/${one.number}`, "aria-current": one.number === this.opened ? "true" : null,
        "aria-label": `Request ${one.number}` }, String(one.number))),
      el("td", { class: "time" }, clock(one.began)),
      el("td", { class: "request" }, el("span", { class: "method" }, one.method),
        el("span", { class: "path" }, one.path, el("span", { class: "query" }, one.query ? `?${one.query}` : "")),
        one.parent ? el("span", { class: "parent" }, `↻ ${one.parent}`) : null),
      el("td", {}, pill(one)),
      el("td", { class: "num" }, milliseconds(one.seconds)),
      el("td", { class: "num wide" }, milliseconds(one.guest_seconds)),
      el("td", { class: "num bytes" }, bytes(one.sent)),
      el("td", { class: "num wide" }, one.stderr_lines ? String(one.stderr_lines) : ""),
      el("td", { class: "num wide" }, one.memory ? bytes(one.memory) : ""),
      el("td", { class: "end", title: one.end }, one.end));
  }

  open(number) {
    this.opened = number;
    if (number) this.focused = number;
    this.paint();
  }

  move(step) {
    const numbers = this.shown.map((one) => one.number);
    if (!numbers.length) return null;
    const at = numbers.indexOf(this.focused);
    this.focused = numbers[at < 0 ? 0 : Math.min(numbers.length - 1, Math.max(0, at + step))];
    this.paint();
    byId("rows").querySelector(".is-focus")?.scrollIntoView({ block: "nearest" });
    const one = this.invocations.get(this.focused);
    byId("live").textContent = `Request ${one.number}: ${one.method} ${one.path}, status ${one.status}`;
    return this.focused;
  }

  paint() {
    for (const row of byId("rows").querySelectorAll("tr[data-number]")) {
      const number = Number(row.dataset.number);
      row.classList.toggle("is-open", number === this.opened);
      row.classList.toggle("is-focus", number === this.focused);
      const link = row.querySelector("a");
      if (number === this.opened) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
  }
}

function markerRow(marker) {
  return el("tr", { class: marker.isBad ? "marker bad" : "marker" }, el("td", { colspan: 10 }, marker.text));
}
