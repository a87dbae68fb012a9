/** Sends a request again, as it was or edited. */
import { getJson, post } from "./api.js";
import { decode, encode, asText } from "./bytes.js";
import { el, toast } from "./dom.js";

export async function sendAgain(number, edits = {}) {
  const sent = await post(`invocations/${number}/resend`, edits);
  toast(`Sent again: ${sent.status}`);
  if (sent.number) location.hash = `#/${sent.number}`;
}

/** Opens the form of an edited request. Secrets are shown in it: they are what is sent. */
export async function editAndSend(number) {
  const one = await getJson(`invocations/${number}?secrets=1`);
  const body = decode(one.stdin.base64);
  const text = one.stdin.is_cut ? null : asText(body);
  const method = el("input", { value: one.method, "aria-label": "Method", class: "mono", id: "edit-method" });
  const target = el("input", { value: one.request.line.split(" ")[1], "aria-label": "Path and query", class: "mono", id: "edit-target" });
  const headers = el("textarea", { rows: 7, "aria-label": "Header fields", id: "edit-headers" }, one.request.headers.map(([name, value]) => `${name}: ${value}`).join("\n"));
  const content = el("textarea", { rows: 6, "aria-label": "Body", id: "edit-body", disabled: text === null }, text ?? "");
  const client = el("input", { value: one.request.client, "aria-label": "Client address", class: "mono", id: "edit-client" });
  const rebuild = el("input", { type: "checkbox", id: "edit-rebuild" });
  const fault = el("p", { class: "fault", role: "alert" });
  const dialog = el("dialog", { "aria-labelledby": "edit-title" },
    el("h2", { id: "edit-title" }, `Edit request ${number}`),
    el("form", { method: "dialog", onsubmit: async (event) => {
      event.preventDefault();
      const edits = { method: method.value, target: target.value, client: client.value || null, rebuild: rebuild.checked,
        headers: headers.value.split("\n").filter(Boolean).map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()]) };
      if (text !== null) edits.body = encode(content.value);
      try { await sendAgain(number, edits); dialog.close(); } catch (error) { fault.textContent = error.message; }
    } },
      el("div", { class: "row" }, el("label", {}, el("span", {}, "Method"), method), el("label", {}, el("span", {}, "Path and query"), target)),
      el("label", {}, el("span", {}, "Header fields, one on a line"), headers),
      el("label", {}, el("span", {}, text === null ? "Body: not text, or not kept; it is sent as it was" : "Body"), content),
      el("div", { class: "row" }, el("label", {}, el("span", {}, "Client address"), client),
        el("label", {}, el("span", {}, "Before that"), el("span", { class: "actions" }, el("label", {}, rebuild, "rebuild every module")))),
      fault,
      el("div", { class: "end" }, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        el("button", { class: "primary", id: "edit-send" }, "Send"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  target.focus();
}
