/** Saves requests as an HTTP Archive. */
import { getText } from "./api.js";
import { el } from "./dom.js";

export async function saveHar(numbers, isRevealed = false) {
  const text = await getText(`har?numbers=${numbers.join(",")}${isRevealed ? "&secrets=1" : ""}`);
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })),
    download: numbers.length === 1 ? `request-${numbers[0]}.har` : "requests.har" });
  link.click();
  URL.revokeObjectURL(link.href);
}
