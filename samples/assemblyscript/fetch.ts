// Calls another service and shows its answer, or says in words why there is none. The operator names the service in the
// environment variable URL and permits it in `allowed_hosts`.
import { fetch, reason } from "./wasi_experimental_http";

export function _start(): void {
  const url = process.env.has("URL") ? process.env.get("URL") : "http://127.0.0.1:3000/hello";
  const response = fetch(url);
  const type = response.header("content-type");
  const text = response.text();
  if (response.error) {
    console.log("status: 502\ncontent-type: text/plain; charset=utf-8\n\n" + url + ": " + reason(response.error));
  } else {
    console.log("content-type: text/plain; charset=utf-8\n");
    console.log(url + " answered " + response.status.toString() + " (" + (type ? type : "no content type") + ")\n");
    console.log(text);
  }
}
