// Uses every part of samples/assemblyscript/wasi_experimental_http.ts once; QUERY_STRING is the target's address.
import { fetch, reason, Response } from "./wasi_experimental_http";

export function _start(): void {
  const target = process.env.get("QUERY_STRING");
  console.log("content-type: text/plain\n");

  const one = fetch(target + "/headers?x-one=1&x-one=2&size=5000");
  show("header", one, one.header("X-One"));
  const long = one.header("x-size");
  show("long header", one, long ? long.length.toString() : null);
  show("no header", one, one.header("x-two"));
  show("headers", one, one.headers().split("\n").length.toString());

  const echo = fetch(target + "/echo", "POST", "content-type:text/x-test\nx-one:1\n", String.UTF8.encode("héllo"));
  show("read", echo, String.UTF8.decode(echo.read(3)));
  show("text", echo, echo.text());
  show("end", echo, echo.read().byteLength.toString());
  show("too many", fetch(target), "");

  one.close();
  show("closed", one, one.text());
  const big = fetch(target + "/big?size=1048576");
  const bytes = Uint8Array.wrap(big.bytes());
  let wrong = 0;
  for (let i = 0; i < bytes.length; i++) wrong += i32(bytes[i] != i % 251);
  show("big", big, bytes.length.toString() + " " + wrong.toString());
}

function show(what: string, response: Response, value: string | null): void {
  const error = response.error ? reason(response.error) : "";
  console.log(what + "|" + response.status.toString() + "|" + error + "|" + (value === null ? "null" : value));
}
