//! The request of CGI's environment: `wasi:http/types` `incoming-request`, its body and trailers.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::cell::Cell;

use crate::exports::wasi::http::types::{self, ErrorCode, Method, Scheme};
use crate::fields::Fields;
use crate::wasi::cli::{environment::get_environment, stdin::get_stdin};
use crate::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::wasi::io::{poll::Pollable, streams::InputStream};

pub struct IncomingRequest {
    method: String,
    target: String,
    is_https: bool,
    authority: String,
    fields: Fields,
    is_consumed: Cell<bool>,
}

impl IncomingRequest {
    /// Reads the environment (RFC 3875 section 4.1).
    pub fn read() -> Self {
        let (mut method, mut target, mut is_https) = (String::new(), String::new(), false);
        let (mut host, mut name, mut port) = (None, String::new(), String::new());
        let mut length = String::new();
        let mut list = Vec::new();
        for (variable, value) in get_environment() {
            match variable.as_str() {
                "REQUEST_METHOD" => method = value,
                "REQUEST_URI" => target = value,
                "HTTPS" => is_https = value == "on",
                "SERVER_NAME" => name = value,
                "SERVER_PORT" => port = value,
                "CONTENT_LENGTH" => length = value,
                "CONTENT_TYPE" if !value.is_empty() => list.push(("content-type".to_string(), value.into_bytes())),
                "HTTP_CONTENT_TYPE" | "HTTP_CONTENT_LENGTH" => {}
                _ => {
                    if let Some(field) = variable.strip_prefix("HTTP_") {
                        if field == "HOST" {
                            host = Some(value.clone());
                        }
                        list.push((field.to_ascii_lowercase().replace('_', "-"), value.into_bytes()));
                    }
                }
            }
        }
        // A request without a body has the length 0 in CGI, and no field in HTTP.
        if !length.is_empty() && (length != "0" || matches!(method.as_str(), "POST" | "PUT" | "PATCH")) {
            list.push(("content-length".to_string(), length.into_bytes()));
        }
        let is_default = port.is_empty() || port == if is_https { "443" } else { "80" };
        let own = if is_default { name } else { format!("{name}:{port}") };
        IncomingRequest {
            method,
            target,
            is_https,
            authority: host.unwrap_or(own),
            fields: Fields::with(list),
            is_consumed: Cell::new(false),
        }
    }
}

impl types::GuestIncomingRequest for IncomingRequest {
    fn method(&self) -> Method {
        match self.method.as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "CONNECT" => Method::Connect,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "PATCH" => Method::Patch,
            other => Method::Other(other.to_string()),
        }
    }

    fn path_with_query(&self) -> Option<String> {
        Some(self.target.clone())
    }

    fn scheme(&self) -> Option<Scheme> {
        Some(if self.is_https { Scheme::Https } else { Scheme::Http })
    }

    fn authority(&self) -> Option<String> {
        Some(self.authority.clone())
    }

    fn headers(&self) -> types::Headers {
        self.fields.immutable()
    }

    fn consume(&self) -> Result<types::IncomingBody, ()> {
        if self.is_consumed.replace(true) {
            return Err(());
        }
        Ok(types::IncomingBody::new(IncomingBody { is_taken: Cell::new(false) }))
    }
}

/// The body, whose stream is the standard input itself.
pub struct IncomingBody {
    is_taken: Cell<bool>,
}

impl types::GuestIncomingBody for IncomingBody {
    fn stream(&self) -> Result<InputStream, ()> {
        if self.is_taken.replace(true) {
            return Err(());
        }
        Ok(get_stdin())
    }

    fn finish(_this: types::IncomingBody) -> types::FutureTrailers {
        types::FutureTrailers::new(FutureTrailers { is_taken: Cell::new(false) })
    }
}

/// The trailers of a request: CGI has none.
pub struct FutureTrailers {
    is_taken: Cell<bool>,
}

impl types::GuestFutureTrailers for FutureTrailers {
    fn subscribe(&self) -> Pollable {
        subscribe_duration(0)
    }

    fn get(&self) -> Option<Result<Result<Option<types::Trailers>, ErrorCode>, ()>> {
        Some(if self.is_taken.replace(true) { Err(()) } else { Ok(Ok(None)) })
    }
}
