/** Bytes on screen: as text with visible control characters, or as a hex dump. */
import { el, bytes } from "./dom.js";

const SHOWN = 64 * 1024;
const NAMES = { 0: "\\0", 9: "→\t", 10: "↵\n", 13: "\\r", 27: "\\e" };

export function decode(base64) {
  const binary = atob(base64);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

export function encode(text) {
  let binary = "";
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

export function asText(data) {
  try { return new TextDecoder("utf-8", { fatal: true }).decode(data); } catch { return null; }
}

export function hex(data) {
  const lines = [];
  for (let at = 0; at < data.length; at += 16) {
    const row = data.subarray(at, at + 16);
    const digits = Array.from(row, (byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(48);
    const text = Array.from(row, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits} ${text}`);
  }
  return lines.join("\n");
}

/** Text nodes with control characters made visible. */
export function visible(data) {
  const nodes = [];
  let plain = "";
  const flush = () => { if (plain) nodes.push(plain); plain = ""; };
  for (const character of new TextDecoder().decode(data)) {
    const code = character.codePointAt(0);
    if (code > 31 && code !== 127) { plain += character; continue; }
    flush();
    const mark = NAMES[code] ?? `\\x${code.toString(16).padStart(2, "0")}`;
    nodes.push(el("span", { class: "ctl", "aria-hidden": code === 10 || code === 9 ? "true" : null }, mark[0] === "\\" ? mark : mark[0]));
    if (mark[0] !== "\\") plain = mark.slice(1);
  }
  flush();
  return nodes;
}

/** A stream as an element: JSON is indented, what is no UTF-8 is a hex dump. */
export function show(stream, { pretty = true } = {}) {
  const data = decode(stream.base64);
  const cut = stream.is_cut
    ? el("p", { class: "soft" }, `${bytes(stream.size)} in all, SHA-256 ${stream.sha256}; the beginning is kept.`) : null;
  if (!data.length) return el("div", {}, el("p", { class: "same" }, stream.size ? "" : "empty"), cut);
  const part = data.subarray(0, SHOWN);
  let text = asText(data.length > SHOWN ? part.subarray(0, part.lastIndexOf(10) + 1 || SHOWN) : data);
  if (text === null) return el("div", {}, scrollable(el("pre", { class: "hex" }, hex(part))), cut);
  if (pretty && /^\s*[[{]/.test(text)) { try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* as it is */ } }
  return el("div", {}, scrollable(el("pre", {}, text)), cut);
}

export function scrollable(element, label = "Content") {
  element.tabIndex = 0;
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", label);
  return element;
}
