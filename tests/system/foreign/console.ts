// Prints as WAGI's users did: as-wasi hands a text and its line end over as two pieces of one write.
import { CommandLine, Console } from "as-wasi";

export function _start(): void {
  Console.log("content-type: text/plain\n");
  const lines = I32.parseInt(CommandLine.all[1]);
  for (let line = 0; line < lines; line++) Console.log("line " + line.toString() + " of a text");
  Console.error("that was all");
}
