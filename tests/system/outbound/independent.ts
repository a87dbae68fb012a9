// Forwards its own request, by the ABI alone and without a line of samples/. It is built with the compiler and the WASI
// library of 2021, and calls as the published clients do; they themselves, @deislabs/wasi-experimental-http among them,
// were not to be had from npm (404).
//
// QUERY_STRING is the URL; the method, the body and the header line in HTTP_X_SEND are forwarded. HTTP_X_LOOK_UP is
// looked up into 4 KiB, and as the Rust client does then into 64 KiB, or once into HTTP_X_ROOM bytes. The body is read
// in parts of HTTP_X_PART bytes, 4096 unless told. HTTP_X_OPEN responses are opened before and stay open.
import { Descriptor, Environ } from "as-wasi";

// @ts-ignore: decorator
@external("wasi_experimental_http", "req")
declare function req(
  url: usize, url_len: usize, method: usize, method_len: usize, headers: usize, headers_len: usize,
  body: usize, body_len: usize, status: usize, handle: usize
): u32;

// @ts-ignore: decorator
@external("wasi_experimental_http", "close")
declare function close(handle: usize): u32;

// @ts-ignore: decorator
@external("wasi_experimental_http", "header_get")
declare function header_get(handle: usize, name: usize, name_len: usize, at: usize, len: usize, written: usize): u32;

// @ts-ignore: decorator
@external("wasi_experimental_http", "body_read")
declare function body_read(handle: usize, at: usize, len: usize, written: usize): u32;

// As in the published client, whole words are read where the gateway writes two bytes.
const status = memory.data(8);
const handle = memory.data(8);
const written = memory.data(8);

function send(url: string, method: string, headers: string, body: Uint8Array): u32 {
  const u = String.UTF8.encode(url);
  const m = String.UTF8.encode(method);
  const h = String.UTF8.encode(headers);
  return req(
    changetype<usize>(u), u.byteLength, changetype<usize>(m), m.byteLength, changetype<usize>(h), h.byteLength,
    body.dataStart, body.length, status, handle
  );
}

function look_up(open: usize, name: string, room: i32, last: i32): void {
  const n = String.UTF8.encode(name);
  const value = new Uint8Array(room);
  const error = header_get(open, changetype<usize>(n), n.byteLength, value.dataStart, room, written);
  if (error == 4 && room < last) {
    look_up(open, name, last, last);
  } else {
    const text = error ? "" : String.UTF8.decodeUnsafe(value.dataStart, load<u32>(written));
    print("x-look-up: " + error.toString() + " " + text);
  }
}

// Not Console.log, which hands the line and its end over in two parts and does not look whether both were taken.
function print(line: string): void {
  Descriptor.Stdout.writeString(line + "\n");
}

export function _start(): void {
  const environ = new Environ();
  const setting = (environ: Environ, name: string, value: string): string => {
    const found = environ.get(name);
    return found === null ? value : found;
  };
  const url = setting(environ, "QUERY_STRING", "");
  const method = setting(environ, "REQUEST_METHOD", "");
  const line = setting(environ, "HTTP_X_SEND", "");
  const headers = line.length > 0 ? line + "\n" : "";
  const input = Descriptor.Stdin.readAll();
  const body = new Uint8Array(input === null ? 0 : input.length);
  if (input !== null) memory.copy(body.dataStart, changetype<ArrayBufferView>(input).dataStart, input.length);

  const nothing = new Uint8Array(0);
  for (let more = I32.parseInt(setting(environ, "HTTP_X_OPEN", "0")); more > 0; more--) send(url, "GET", "", nothing);
  const error = send(url, method, headers, body);
  print("content-type: application/octet-stream");
  print("x-error: " + error.toString());
  if (error) {
    print("");
    return;
  }

  const open = load<usize>(handle);
  const name = setting(environ, "HTTP_X_LOOK_UP", "");
  const room = I32.parseInt(setting(environ, "HTTP_X_ROOM", "0"));
  if (name.length > 0) look_up(open, name, room ? room : 4096, room ? room : 65536);
  print("x-status: " + (load<usize>(status) as u16).toString());
  print("");
  const part = new Array<u8>(I32.parseInt(setting(environ, "HTTP_X_PART", "4096")));
  const size = part.length;
  while (body_read(open, changetype<ArrayBufferView>(part).dataStart, size, written) == 0 && load<u32>(written) > 0) {
    Descriptor.Stdout.write(part.slice(0, load<u32>(written)));
  }
  close(open);
}
