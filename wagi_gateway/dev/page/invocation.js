/** One request: what went in, what the guest did with it, and what came out. */
import { getJson, getText } from "./api.js";
import { asText, decode, hex, scrollable, show, visible } from "./bytes.js";
import { breakable, bytes, clock, el, milliseconds, pill, rows, toast } from "./dom.js";
import { saveHar } from "./har.js";
import { editAndSend, sendAgain } from "./resend.js";

const SHOWN = 64 * 1024;
const MASK = "••••••••";
const COPIES = [["curl", "curl"], ["run", "wagi-gateway run"], ["test", "test for the shell"], ["pytest", "test for pytest"]];
const STEPS = [["body", "request body", "t0"], ["admitted", "wait for a place", "t1"], ["instantiated", "instantiate the guest", "t5"],
  ["first output", "guest, to its first output", "t2"],
  ["first byte", "head of the response", "t3"], ["sent", "rest of the response", "t4"]];

export async function showInvocation(number, neighbours, reveal = false) {
  const one = await getJson(`invocations/${number}${reveal ? "?secrets=1" : ""}`);
  const redraw = async () => {
    document.getElementById("main").replaceChildren(await showInvocation(number, neighbours, !reveal));
    document.getElementById("reveal").focus();
  };
  const parts = [
    ["request", "Request", request(one, redraw)],
    ["environment", "Environment", environment(one, redraw)],
    ["argv", "Arguments", argv(one)],
    ["stdin", "Standard input", el("div", { class: "card" }, show(one.stdin)), bytes(one.stdin.size)],
    ["stdout", "Standard output", stdout(one), one.stdout.size ? bytes(one.stdout.size) : null],
    ["stderr", "Standard error", stderr(one), one.stderr.size ? bytes(one.stderr.size) : null],
    ["timings", "Timings", timings(one)],
    ["memory", "Memory", memory(one)],
    ["files", "Files", files(one), one.file_count ? String(one.file_count) : null],
    ["calls", "Outbound calls", calls(one), one.calls.length ? String(one.calls.length) : null],
  ];
  return el("article", { class: "page" },
    el("a", { class: "back", href: "#/" }, "← All requests"),
    el("div", { class: "title" }, pill(one),
      el("h1", {}, el("span", { class: "method" }, one.method), el("span", { class: "path" }, one.path,
        el("span", { class: "query" }, one.query ? `?${one.query}` : "")))),
    facts(one), actions(one, neighbours, redraw), failure(one), lint(one),
    el("nav", { class: "jump", "aria-label": "Parts of the request" },
      parts.map(([id, title]) => el("a", { href: `#/${number}/${id}` }, title))),
    parts.map(([id, title, content, note]) => el("section", { class: "part", id: `part-${id}`, "aria-labelledby": `title-${id}` },
      el("h2", { id: `title-${id}` }, title, note ? el("small", {}, note) : null), content)));
}

function facts(one) {
  const list = [["#", one.number], ["at ", clock(one.began)], ["total ", milliseconds(one.seconds)], ["guest ", milliseconds(one.guest_seconds)],
    ["sent ", bytes(one.sent)], ["ended with ", one.end.text], ["route ", one.route], ["module ", one.source], ["build ", one.module.build]];
  return el("p", { class: "facts" },
    list.filter(([, value]) => value !== "" && value !== null).map(([label, value]) => el("span", {}, label, el("b", {}, String(value)))),
    one.parent ? el("span", {}, "repeats ", el("a", { href: `#/${one.parent}` }, `#${one.parent}`)) : null,
    one.redirects.length ? el("span", {}, "redirected to ", el("b", {}, one.redirects.join(", "))) : null);
}

function actions(one, neighbours, redraw) {
  const guard = (action) => () => action().catch((error) => toast(error.message));
  const copy = (form) => guard(async () => {
    await navigator.clipboard.writeText(await getText(`invocations/${one.number}/copy/${form}${one.is_revealed ? "?secrets=1" : ""}`));
    toast(one.is_revealed ? `Copied ${form}, with secrets` : `Copied ${form}; secrets are masked`);
  });
  const copies = el("select", { "aria-label": "Copy as", onchange: (event) => {
    if (event.target.value) copy(event.target.value)();
    event.target.value = "";
  } }, el("option", { value: "" }, "Copy as …"), COPIES.map(([form, title]) => el("option", { value: form }, title)));
  const choice = el("select", { "aria-label": "Compare with", onchange: (event) => {
    if (event.target.value) location.hash = `#/${one.number}/diff/${event.target.value}`;
  } }, el("option", { value: "" }, "Compare with …"),
    neighbours.slice(0, 50).map((other) => el("option", { value: other.number }, `#${other.number} ${other.method} ${other.path} ${other.status}`)));
  return el("div", { class: "actions" },
    el("button", { class: "primary", onclick: guard(() => sendAgain(one.number)) }, "Send again"),
    el("button", { onclick: guard(() => sendAgain(one.number, { rebuild: true })) }, "Rebuild and send"),
    el("button", { onclick: guard(() => editAndSend(one.number)) }, "Edit and send"),
    choice,
    copies,
    el("button", { onclick: guard(() => saveHar([one.number], one.is_revealed)) }, "Save HAR"),
    el("label", {}, el("input", { type: "checkbox", id: "reveal", checked: one.is_revealed, onchange: guard(redraw) }), "Show secrets"));
}

function failure(one) {
  const reason = one.end.error || one.end.failure;
  if (!reason) return null;
  return el("div", { class: "callout", role: "group", "aria-label": "Failure" }, el("h2", {}, "What went wrong"), el("p", {}, reason),
    one.end.error && one.end.failure && !one.end.error.includes(one.end.failure) ? el("p", { class: "soft" }, one.end.failure) : null,
    one.end.frames.map((frame, index) => el("div", { class: "frame" },
      el("p", {}, el("span", { class: "soft" }, index ? "called by " : "in "), frame.function, frame.is_inlined ? " (inlined)" : "",
        frame.file ? el("span", { class: "soft" }, ` — ${frame.file}:${frame.line}:${frame.column}`) : null),
      frame.source.length ? scrollable(el("div", { class: "source" }, frame.source.map(([number, text]) =>
        el("div", { class: number === frame.line ? "at" : "" }, el("span", { class: "no" }, String(number)), text || " "))), "Source") : null)),
    one.end.advice ? el("p", { class: "soft" }, one.end.advice) : null);
}

function lint(one) {
  if (!one.lint.length) return null;
  return el("div", { class: "callout lint", role: "group", "aria-label": "Advice" }, el("h2", {}, "Worth a look"), el("ul", {}, one.lint.map((text) => el("li", {}, text))));
}

/** A value, with a button in the place of a masked one. */
function value(text, redraw) {
  if (!text.includes(MASK)) return [text];
  return [text, " ", el("button", { class: "quiet", onclick: redraw }, "show")];
}

function request(one, redraw) {
  const withheld = new Map(one.request.withheld.map((field) => [field.name, field.reason]));
  return el("div", { class: "card" }, el("p", { class: "mono" }, one.request.line),
    rows("Header fields", one.request.headers.map(([name, text]) => el("tr", {}, el("th", { scope: "row" }, name),
      el("td", {}, value(text, redraw), withheld.has(name)
        ? el("span", { class: "say" }, el("span", { class: "tag dropped" }, "withheld"), withheld.get(name)) : null))),
    ["Field", "Value, and why the guest does not get it"]),
    el("p", { class: "soft" }, `from ${one.request.client || "a UNIX socket"}, ${one.request.scheme}`));
}

function environment(one, redraw) {
  if (!one.environ.length) return el("div", { class: "card" }, el("p", { class: "same" }, "No guest ran."));
  return el("div", { class: "card" }, rows("Environment", one.environ.map((variable) => el("tr", { class: variable.is_changed ? "changed" : "" },
    el("th", { scope: "row" }, breakable(variable.name)), el("td", {}, value(variable.value, redraw), " ", copyButton(variable),
      variable.kind === "operator" ? el("span", { class: "tag" }, "modules.toml") : null,
      variable.is_changed ? el("span", { class: "tag changed" }, `differs from #${one.previous}`) : null))),
  ["Variable", "Value"]));
}

function copyButton({ name, value: text }) {
  if (!text || text.includes(MASK)) return null;
  return el("button", { class: "quiet copy", "aria-label": `Copy ${name}`, onclick: () => navigator.clipboard.writeText(quoted(`${name}=${text}`))
    .then(() => toast(`Copied ${name}`), (error) => toast(error.message)) }, "copy");
}

/** A word for a shell: a client chooses the value, which may be pasted into a terminal. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function argv(one) {
  if (!one.argv.items.length) return el("div", { class: "card" }, el("p", { class: "same" }, "No guest ran."));
  return el("div", { class: "card" },
    el("p", { class: "soft" }, one.argv.template === null ? `argv_mode = "${one.argv.mode}"` : `argv = "${one.argv.template}"`),
    rows("Arguments", one.argv.items.map((item, index) => el("tr", {}, el("th", { scope: "row" }, String(index)), el("td", {}, item))), ["Number", "Argument"]));
}

function stdout(one) {
  const raw = decode(one.stdout.base64);
  const parsed = one.parsed;
  const shown = raw.subarray(0, SHOWN);
  const isText = asText(shown) !== null || shown.length === SHOWN;
  const end = parsed?.body ?? null;
  const at = parsed?.error_at ?? null;
  const content = [];
  if (!raw.length) content.push(el("p", { class: "same" }, "nothing was printed"));
  else if (!isText && end === null) content.push(scrollable(el("pre", { class: "hex" }, hex(shown)), "Standard output, raw"));
  else {
    const head = shown.subarray(0, end ?? shown.length);
    const lineEnd = at === null ? -1 : (head.indexOf(10, at) < 0 ? head.length : head.indexOf(10, at) + 1);
    const pre = el("pre", {}, at === null ? visible(head) : [...visible(head.subarray(0, at)),
      el("span", { class: "broken" }, visible(head.subarray(at, lineEnd))), ...visible(head.subarray(lineEnd))],
      end === null ? null : [el("span", { class: "split" }, "the header block ends here"), asText(shown.subarray(end)) === null && shown.length < SHOWN
        ? hex(shown.subarray(end)) : visible(shown.subarray(end))]);
    content.push(scrollable(pre, "Standard output, raw"));
  }
  if (raw.length > SHOWN || one.stdout.is_cut) content.push(el("p", { class: "soft" }, `${bytes(one.stdout.size)} in all, SHA-256 ${one.stdout.sha256}`));
  const type = one.response.headers.find(([name]) => name === "content-type")?.[1] ?? "";
  const preview = end !== null && !one.end.error ? previewOf(raw.subarray(end), type.split(";")[0].trim().toLowerCase(), one.stdout.is_cut) : null;
  return el("div", {},
    el("div", { class: "two" },
      el("div", { class: "card" }, el("h3", {}, "As the guest printed it"), content),
      el("div", { class: "card" }, el("h3", {}, "As the gateway read it"), parsedFields(one))),
    el("div", { class: "card" }, el("h3", {}, `As it was sent: ${one.response.status || "no response"}`),
      rows("Response fields", one.response.headers.map(([name, text]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, text))), ["Field", "Value"]),
      el("p", { class: "soft" }, `${bytes(one.response.size)} of body`), preview));
}

function parsedFields(one) {
  if (!one.parsed) return el("p", { class: "same" }, "No guest ran.");
  return [one.parsed.error ? el("p", { class: "fault" }, one.parsed.error, one.parsed.error_at === null ? "" : ` (byte ${one.parsed.error_at})`) : null,
    rows("Header block", one.parsed.lines.map((line) => el("tr", {}, el("th", { scope: "row" }, line.name || "—"),
      el("td", {}, line.value, el("span", { class: "say" }, el("span", { class: `tag ${line.fate}` }, line.fate), line.reason)))), ["Field", "Value, and what becomes of it"])];
}

/** HTML in a frame without scripts; an image as an image, in which a browser runs no script of an SVG. */
function previewOf(body, type, isCut) {
  if (/^image\/[\w.+-]+$/.test(type) && !isCut) return el("div", { class: "preview" }, imageOf(body, type));
  if (type !== "text/html") return null;
  const details = el("details", {}, el("summary", {}, "Preview, without scripts"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("iframe")) return;
    const frame = el("iframe", { sandbox: "", title: "Preview of the response" });
    frame.srcdoc = new TextDecoder().decode(body);
    details.append(frame);
  });
  return details;
}

/** A data: URL, whose document would have no origin: that of a blob: URL would be the inspector's. */
function imageOf(body, type) {
  const image = el("img", { alt: "Preview of the response" });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "soft" }, "The browser cannot show this image.")));
  const reader = new FileReader();
  reader.addEventListener("load", () => { image.src = reader.result; });
  reader.readAsDataURL(new Blob([body], { type }));
  return image;
}

function stderr(one) {
  const data = decode(one.stderr.base64);
  if (!data.length) return el("div", { class: "card" }, el("p", { class: "same" }, "nothing was printed"));
  const isMasked = one.stderr.size !== data.length && !one.stderr.is_cut;
  const lines = [];
  if (isMasked) lines.push(el("div", {}, visible(data)));
  else one.stderr_pieces.forEach(([offset, ms], index) => {
    const piece = data.subarray(offset, one.stderr_pieces[index + 1]?.[0] ?? data.length);
    if (piece.length) lines.push(el("div", {}, el("span", { class: "ms" }, `${ms} ms`), new TextDecoder().decode(piece)));
  });
  return el("div", { class: "card" }, scrollable(el("pre", {}, lines), "Standard error"),
    one.stderr_dropped ? el("p", { class: "soft" }, `${one.stderr_dropped} bytes more are beyond limits.stderr`) : null);
}

function timings(one) {
  const total = one.marks.sent ?? one.marks.over ?? 0;
  const bar = el("div", { class: "spans", role: "img", "aria-label": `${total.toFixed(1)} ms in all` });
  const legend = el("ul", { class: "legend" });
  let before = 0;
  for (const [name, label, color] of STEPS) {
    const at = one.marks[name];
    if (at === undefined) continue;
    const took = Math.max(0, at - before);
    const span = el("span", { class: color });
    span.style.flexGrow = String(took);
    bar.append(span);
    legend.append(el("li", {}, el("i", { class: color }), `${label} ${took.toFixed(2)} ms`));
    before = Math.max(at, before);
  }
  const after = (one.marks.over ?? 0) - (one.marks.sent ?? 0);
  if (one.marks.sent && after > 1) legend.append(el("li", {}, `guest ran on for ${after.toFixed(1)} ms`));
  if (one.source && one.guest_seconds !== null) legend.append(el("li", {}, one.module.compile_seconds === null ? "machine code from the cache"
    : `module compiled in ${milliseconds(one.module.compile_seconds)}`));
  if (one.guest_seconds !== null) legend.append(el("li", {}, `in the sandbox ${(one.guest_seconds * 1000).toFixed(2)} ms, ${one.executor}`));
  return el("div", { class: "card" }, bar, legend);
}

function memory(one) {
  const { used, limit, is_short: isShort } = one.memory;
  if (!limit || !used) return el("div", { class: "card" }, el("p", { class: "same" }, "not known"));
  return el("div", { class: "card" }, el("p", {}, el("meter", { min: 0, max: limit, high: limit / 2, value: used, "aria-label": "Memory" }),
    ` ${bytes(used)} of ${bytes(limit)} (limits.memory)`, isShort ? "; memory was short" : ""));
}

function files(one) {
  if (!one.files.length) return el("div", { class: "card" }, el("p", { class: "same" }, "none was opened"));
  return el("div", { class: "card" }, scrollable(el("div", { class: "tall" }, rows("Files", one.files.map((file) => el("tr", {},
    el("td", {}, breakable(file.path)), el("td", {}, el("span", { class: `tag ${file.error ? "error" : "kept"}` }, file.error || `opened to ${file.mode}`),
      file.error ? el("span", { class: "say" }, `to ${file.mode}`) : null))), ["Path", "Result"])), "Files"),
    one.file_count > one.files.length ? el("p", { class: "soft" }, `the first ${one.files.length} of ${one.file_count}`) : null);
}

function calls(one) {
  if (!one.calls.length) return el("div", { class: "card" }, el("p", { class: "same" }, "none"));
  return el("div", { class: "card" }, rows("Outbound calls", one.calls.map((call) => el("tr", {},
    el("th", { scope: "row" }, `${call.method} ${call.origin}`), el("td", {}, call.status ? String(call.status) : "—"),
    el("td", {}, el("span", { class: "say" }, el("span", { class: `tag ${call.status ? "kept" : "error"}` }, call.decision),
      `${call.reason} ${call.milliseconds} ms, ${bytes(call.received)}`)))), ["Call", "Status", "Decision"]));
}
