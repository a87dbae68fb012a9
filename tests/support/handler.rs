//! A component of `wasi:http/proxy` that does what the last part of its path names.

use std::io::Write;
use std::time::Duration;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, HeaderError, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::StreamError;

wasip2::http::proxy::export!(Handler);

struct Handler;

impl Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path.rsplit('/').next().unwrap() {
            "request" => respond(out, Fields::new(), describe(&request).as_bytes()),
            "echo" => echo(request, out),
            "status" => {
                let response = OutgoingResponse::new(Fields::new());
                let code = query.parse().unwrap();
                let text = format!("{:?}", response.set_status_code(code));
                send(response, out, text.as_bytes());
            }
            "headers" => respond(out, headers(), b"headers"),
            "fields" => respond(out, Fields::new(), fields(&request).as_bytes()),
            "large" => large(out),
            "early" => {
                let response = OutgoingResponse::new(headers());
                response.set_status_code(201).unwrap();
                let body = response.body().unwrap();
                write(&body, b"before the head");
                OutgoingBody::finish(body, None).unwrap();
                ResponseOutparam::set(out, Ok(response));
            }
            "other" => {
                let first = OutgoingResponse::new(Fields::new());
                write(&first.body().unwrap(), b"of the first");
                ResponseOutparam::set(out, Ok(OutgoingResponse::new(Fields::new())));
            }
            "unset" => {}
            "half" => write(&OutgoingResponse::new(Fields::new()).body().unwrap(), b"half of a response"),
            "error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("no luck".into())))),
            "trap" => panic!("the handler panics"),
            "late-trap" => {
                respond(out, Fields::new(), &[b'x'; 200_000]);
                panic!("the handler panics late");
            }
            "loop" => loop {
                std::hint::black_box(());
            },
            "sleep" => {
                std::thread::sleep(Duration::from_secs(60));
                respond(out, Fields::new(), b"slept");
            }
            "nap" => {
                let response = OutgoingResponse::new(Fields::new());
                let body = response.body().unwrap();
                ResponseOutparam::set(out, Ok(response));
                let stream = body.write().unwrap();
                stream.blocking_write_and_flush(b"first\n").unwrap();
                wasip2::clocks::monotonic_clock::subscribe_duration(200_000_000).block();
                stream.blocking_write_and_flush(b"second\n").unwrap();
            }
            "outgoing" => respond(out, Fields::new(), outgoing().as_bytes()),
            "log" => {
                println!("to standard output");
                eprintln!("to standard error");
                respond(out, Fields::new(), b"logged");
            }
            "trailers" => trailers(request, out),
            "files" => respond(out, Fields::new(), format!("{:?}", std::fs::read_to_string("/data/a.txt")).as_bytes()),
            "sockets" => {
                let error = std::net::TcpStream::connect("127.0.0.1:9").map(drop).map_err(|error| error.kind());
                respond(out, Fields::new(), format!("{error:?}").as_bytes());
            }
            _ => respond(out, Fields::new(), b"hello\n"),
        }
    }
}

fn respond(out: ResponseOutparam, fields: Fields, text: &[u8]) {
    send(OutgoingResponse::new(fields), out, text);
}

fn send(response: OutgoingResponse, out: ResponseOutparam, text: &[u8]) {
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    write(&body, text);
    OutgoingBody::finish(body, None).unwrap();
}

fn write(body: &OutgoingBody, text: &[u8]) {
    let mut stream = body.write().unwrap();
    stream.write_all(text).unwrap();
    stream.flush().unwrap();
}

fn describe(request: &IncomingRequest) -> String {
    let mut text = format!(
        "{:?} {:?} {:?} {:?}\n",
        request.method(),
        request.scheme(),
        request.authority(),
        request.path_with_query()
    );
    for (name, value) in request.headers().entries() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    text
}

fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let received = request.consume().unwrap();
    let (input, output) = (received.stream().unwrap(), body.write().unwrap());
    loop {
        match output.blocking_splice(&input, u64::MAX) {
            Ok(_) => {}
            Err(StreamError::Closed) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    drop(output);
    OutgoingBody::finish(body, None).unwrap();
}

fn headers() -> Fields {
    let fields = [
        ("Content-Type", "text/x-own"),
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("status", "500"),
        ("x-own", "\u{e4}"),
    ];
    let entries: Vec<_> = fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    Fields::from_list(&entries).unwrap()
}

fn fields(request: &IncomingRequest) -> String {
    let own = Fields::new();
    let is_invalid = |result: Result<(), HeaderError>| matches!(result, Err(HeaderError::InvalidSyntax));
    let is_immutable = |result: Result<(), HeaderError>| matches!(result, Err(HeaderError::Immutable));
    let bad_list = Fields::from_list(&[("a".into(), b"b\nc".to_vec())]);
    let mut results = vec![
        own.append("A", b"1").is_ok(),
        own.append("a", b"2").is_ok(),
        own.get("A") == [b"1", b"2"] && own.has("a"),
        is_invalid(own.append("a b", b"")),
        is_invalid(own.append("", b"")),
        is_invalid(own.append("a", b"x\r\nset-cookie: y")),
        is_invalid(own.set("a", &[b"good".to_vec(), b"\0".to_vec()])),
        is_invalid(own.delete("a:")),
        matches!(bad_list, Err(HeaderError::InvalidSyntax)),
        own.set("a", &[b"3".to_vec()]).is_ok() && own.entries() == [("a".to_string(), b"3".to_vec())],
        is_immutable(request.headers().append("a", b"")),
        is_immutable(request.headers().set("a", &[])),
        is_immutable(request.headers().delete("host")),
        request.headers().clone().delete("host").is_ok(),
        own.delete("a").is_ok() && own.get("a").is_empty() && !own.has("a"),
    ];
    let response = OutgoingResponse::new(own);
    results.push(is_immutable(response.headers().append("a", b"")));
    let body = request.consume().unwrap();
    results.push(request.consume().is_err() && body.stream().is_ok() && body.stream().is_err());
    let body = response.body().unwrap();
    results.push(response.body().is_err() && response.status_code() == 200);
    drop(body);
    format!("{results:?}")
}

fn large(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let mut stream = body.write().unwrap();
    for number in 0..64u8 {
        stream.write_all(&vec![number; 256 * 1024]).unwrap();
    }
}

fn outgoing() -> String {
    let request = OutgoingRequest::new(Fields::new());
    let mut results = vec![
        request.set_method(&Method::Post).is_ok() && matches!(request.method(), Method::Post),
        request.set_method(&Method::Other("a b".into())).is_err(),
        request.set_scheme(Some(&Scheme::Http)).is_ok() && matches!(request.scheme(), Some(Scheme::Http)),
        request.set_authority(Some("127.0.0.1:9")).is_ok() && request.authority().is_some(),
        request.set_authority(Some("a\nb")).is_err(),
        request.set_path_with_query(Some("/a?b")).is_ok() && request.path_with_query().is_some(),
        request.set_path_with_query(Some("/a b")).is_err(),
    ];
    let body = request.body().unwrap();
    results.push(request.body().is_err() && body.write().is_err());
    format!("{results:?} {:?}", outgoing_handler::handle(request, None).map(drop))
}

fn trailers(request: IncomingRequest, out: ResponseOutparam) {
    let received = IncomingBody::finish(request.consume().unwrap());
    received.subscribe().block();
    let first = matches!(received.get(), Some(Ok(Ok(None))));
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    write(&body, format!("{first} {}", matches!(received.get(), Some(Err(())))).as_bytes());
    OutgoingBody::finish(body, Some(headers())).unwrap();
}
