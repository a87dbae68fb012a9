// A server on node:wasi: the module is compiled once, each request has its own WASI object and instance.
//
//   node --no-warnings node.mjs MODULE OUTPUT
//
// A guest runs to its end before the next one starts, so that one file takes the output of all guests. A response is read
// from the offset at which its guest began to write; the file is truncated at 8 MiB. A file for each request costs more.
import fs from 'node:fs'
import http from 'node:http'
import { WASI } from 'node:wasi'

const EMPTY_AT = 8 * 1024 * 1024
const module = new WebAssembly.Module(fs.readFileSync(process.argv[2]))
const stdout = fs.openSync(process.argv[3], 'a+')
const buffer = Buffer.allocUnsafe(64 * 1024)
let begin = 0

function environment(request) {
  const [path, query = ''] = request.url.split('?', 2)
  const env = {
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_SOFTWARE: 'node',
    SERVER_PROTOCOL: 'HTTP/' + request.httpVersion,
    SERVER_NAME: '127.0.0.1',
    SERVER_PORT: String(request.socket.localPort),
    REQUEST_METHOD: request.method,
    SCRIPT_NAME: path,
    PATH_INFO: '',
    QUERY_STRING: query,
    CONTENT_LENGTH: '0',
    REMOTE_ADDR: request.socket.remoteAddress,
    REQUEST_URI: request.url,
  }
  for (const name in request.headers) env['HTTP_' + name.toUpperCase().replaceAll('-', '_')] = request.headers[name]
  return env
}

function run(request) {
  const wasi = new WASI({ version: 'preview1', args: [request.url], env: environment(request), stdout })
  wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()))
  const size = fs.readSync(stdout, buffer, 0, buffer.length, begin)
  begin += size
  if (begin > EMPTY_AT) {
    fs.ftruncateSync(stdout, 0)
    begin = 0
  }
  return buffer.toString('latin1', 0, size)
}

const server = http.createServer((request, response) => {
  const output = run(request)
  const end = output.indexOf('\n\n')
  const headers = {}
  for (const line of output.slice(0, end).split('\n')) {
    const colon = line.indexOf(':')
    headers[line.slice(0, colon)] = line.slice(colon + 1).trim()
  }
  const body = output.slice(end + 2)
  headers['content-length'] = body.length
  response.writeHead(200, headers)
  response.end(body, 'latin1')
})
server.keepAliveTimeout = 75000
server.listen(0, '127.0.0.1', () => console.log(`Ready: serving on http://127.0.0.1:${server.address().port}`))
