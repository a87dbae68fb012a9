// Outbound HTTP for a WAGI guest: the import module `wasi_experimental_http`.
//
//     const response = fetch("https://example.com/");
//     const text = response.text();
//     console.log(response.error ? reason(response.error) : text);
//     response.close();
//
// Nothing here throws, because AssemblyScript cannot catch: what fails sets `error`, and `reason` says it in words.

export enum HttpError {
  OK = 0,
  INVALID_HANDLE = 1,
  MEMORY_NOT_FOUND = 2,
  MEMORY_ACCESS = 3,
  BUFFER_TOO_SMALL = 4,
  HEADER_NOT_FOUND = 5,
  UTF8 = 6,
  DESTINATION_NOT_ALLOWED = 7,
  INVALID_METHOD = 8,
  INVALID_ENCODING = 9,
  INVALID_URL = 10,
  REQUEST_ERROR = 11,
  RUNTIME_ERROR = 12,
  TOO_MANY_SESSIONS = 13,
}

// Bytes of a buffer for headers, tried first and tried last.
const SMALL = 4096;
const LARGE = 65536;

// Where the gateway writes its results.
const STATUS = memory.data(2, 2);
const HANDLE = memory.data(4, 4);
const WRITTEN = memory.data(4, 4);

/** Sends a request. `headers` holds one `name:value` a line; the value is sent as it stands after the colon. */
export function fetch(
  url: string,
  method: string = "GET",
  headers: string = "",
  body: ArrayBuffer = new ArrayBuffer(0),
): Response {
  const u = String.UTF8.encode(url);
  const m = String.UTF8.encode(method);
  const h = String.UTF8.encode(headers);
  const error = req(
    changetype<usize>(u), u.byteLength,
    changetype<usize>(m), m.byteLength,
    changetype<usize>(h), h.byteLength,
    changetype<usize>(body), body.byteLength,
    STATUS, HANDLE,
  );
  // No response has the handle -1.
  return error ? new Response(error, 0, -1) : new Response(0, load<u16>(STATUS), load<u32>(HANDLE));
}

export class Response {
  constructor(
    /** What failed first, an `HttpError`; 0 as long as nothing did. */
    public error: u32,
    public readonly status: u16,
    private readonly handle: u32,
  ) {}

  /** The first value of a header; null if there is none, or one longer than 64 KiB. */
  header(name: string): string | null {
    const n = String.UTF8.encode(name);
    for (let size = SMALL; size <= LARGE; size *= 16) {
      const buffer = new ArrayBuffer(size);
      const value = changetype<usize>(buffer);
      const error = header_get(this.handle, changetype<usize>(n), n.byteLength, value, size, WRITTEN);
      if (!error) return String.UTF8.decodeUnsafe(value, load<u32>(WRITTEN));
      if (error != HttpError.BUFFER_TOO_SMALL) break;
    }
    return null;
  }

  /** All headers, one `name:value` a line. */
  headers(): string {
    const buffer = new ArrayBuffer(LARGE);
    const lines = changetype<usize>(buffer);
    const ok = this.check(headers_get_all(this.handle, lines, LARGE, WRITTEN));
    return ok ? String.UTF8.decodeUnsafe(lines, load<u32>(WRITTEN)) : "";
  }

  /** The next part of the body, at most this many bytes; empty at its end. */
  read(size: i32 = LARGE): ArrayBuffer {
    const buffer = new ArrayBuffer(size);
    const ok = this.check(body_read(this.handle, changetype<usize>(buffer), size, WRITTEN));
    return buffer.slice(0, ok ? load<i32>(WRITTEN) : 0);
  }

  /** The rest of the body. */
  bytes(): ArrayBuffer {
    let buffer = new ArrayBuffer(LARGE);
    let length = 0;
    while (true) {
      const room = buffer.byteLength - length;
      if (!this.check(body_read(this.handle, changetype<usize>(buffer) + length, room, WRITTEN))) break;
      const count = load<i32>(WRITTEN);
      if (!count) break;
      length += count;
      if (length == buffer.byteLength) {
        const larger = new ArrayBuffer(2 * length);
        memory.copy(changetype<usize>(larger), changetype<usize>(buffer), length);
        buffer = larger;
      }
    }
    return buffer.slice(0, length);
  }

  /** The rest of the body as text. */
  text(): string {
    return String.UTF8.decode(this.bytes());
  }

  /** Gives the response back; the gateway limits how many may be open at once. */
  close(): void {
    close(this.handle);
  }

  private check(error: u32): bool {
    if (!this.error) this.error = error;
    return !error;
  }
}

/** An `HttpError` in words. */
export function reason(error: u32): string {
  switch (error) {
    case HttpError.OK: return "nothing failed";
    case HttpError.INVALID_HANDLE: return "the response is not open";
    case HttpError.MEMORY_NOT_FOUND: return "the module does not export its memory";
    case HttpError.MEMORY_ACCESS: return "an address lies outside the module's memory";
    case HttpError.BUFFER_TOO_SMALL: return "the headers are longer than 64 KiB";
    case HttpError.HEADER_NOT_FOUND: return "the response has no such header";
    case HttpError.UTF8: return "a text is not valid UTF-8";
    case HttpError.DESTINATION_NOT_ALLOWED: return "allowed_hosts does not let this module call it";
    case HttpError.INVALID_METHOD: return "the request method is invalid";
    case HttpError.INVALID_ENCODING: return "a request header is malformed";
    case HttpError.INVALID_URL: return "the URL is invalid";
    case HttpError.REQUEST_ERROR: return "no usable answer came";
    case HttpError.RUNTIME_ERROR: return "the gateway failed while handling the request";
    case HttpError.TOO_MANY_SESSIONS: return "too many responses are open";
    default: return "unknown error";
  }
}

// @ts-ignore: decorator
@external("wasi_experimental_http", "req")
declare function req(
  url: usize, urlLength: usize, method: usize, methodLength: usize,
  headers: usize, headersLength: usize, body: usize, bodyLength: usize,
  status: usize, handle: usize,
): u32;

// @ts-ignore: decorator
@external("wasi_experimental_http", "close")
declare function close(handle: u32): u32;

// @ts-ignore: decorator
@external("wasi_experimental_http", "header_get")
declare function header_get(
  handle: u32, name: usize, nameLength: usize, buffer: usize, bufferLength: usize, written: usize,
): u32;

// @ts-ignore: decorator
@external("wasi_experimental_http", "headers_get_all")
declare function headers_get_all(handle: u32, buffer: usize, bufferLength: usize, written: usize): u32;

// @ts-ignore: decorator
@external("wasi_experimental_http", "body_read")
declare function body_read(handle: u32, buffer: usize, bufferLength: usize, written: usize): u32;
