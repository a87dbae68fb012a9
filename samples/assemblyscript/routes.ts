// One module, three entrypoints. The gateway calls `_routes` once, at start-up: each line it prints names a path
// below this module's route and the export that answers it. Any other path goes to `_start`.
export function _routes(): void {
  console.log("/bonjour bonjour");
  console.log("/hola/... hola");
}

export function bonjour(): void {
  reply("Bonjour, le monde !");
}

export function hola(): void {
  const path = process.env.has("PATH_INFO") ? process.env.get("PATH_INFO") : "";
  const name = path.length > 1 ? path.substring(1) : "mundo";
  reply("¡Hola, " + name + "!");
}

export function _start(): void {
  reply("Try bonjour or hola/NAME below this address.");
}

function reply(text: string): void {
  console.log("content-type: text/plain; charset=utf-8");
  console.log();
  console.log(text);
}
