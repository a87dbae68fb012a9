//! Outgoing requests, which are denied: `wasi:http/outgoing-handler`, `outgoing-request`, `request-options`.

use alloc::{format, string::String};
use core::cell::{Cell, RefCell};

use crate::exports::wasi::http::outgoing_handler;
use crate::exports::wasi::http::types::{self, ErrorCode, Method, Scheme};
use crate::fields::{is_name, Fields};
use crate::response::{log, OutgoingBody};
use crate::wasi::io::poll::Pollable;
use crate::{Bridge, Single};

static IS_LOGGED: Single<Cell<bool>> = Single(Cell::new(false));

impl outgoing_handler::Guest for Bridge {
    fn handle(
        request: types::OutgoingRequest,
        _options: Option<types::RequestOptions>,
    ) -> Result<types::FutureIncomingResponse, ErrorCode> {
        if !IS_LOGGED.0.replace(true) {
            let authority = request.get::<OutgoingRequest>().authority.borrow().clone();
            log(&format!("an outgoing request to {} was denied", authority.unwrap_or_default()));
        }
        Err(ErrorCode::HttpRequestDenied)
    }
}

pub struct OutgoingRequest {
    fields: Fields,
    method: RefCell<Method>,
    target: RefCell<Option<String>>,
    scheme: RefCell<Option<Scheme>>,
    authority: RefCell<Option<String>>,
    has_body: Cell<bool>,
}

/// Whether a part of a URI has neither spaces nor control characters.
fn is_visible(part: &Option<String>) -> Result<(), ()> {
    let is_visible = part.iter().flat_map(|part| part.bytes()).all(|byte| byte > b' ' && byte != 0x7f);
    if is_visible { Ok(()) } else { Err(()) }
}

impl types::GuestOutgoingRequest for OutgoingRequest {
    fn new(headers: types::Headers) -> Self {
        OutgoingRequest {
            fields: headers.into_inner(),
            method: RefCell::new(Method::Get),
            target: RefCell::new(None),
            scheme: RefCell::new(None),
            authority: RefCell::new(None),
            has_body: Cell::new(false),
        }
    }

    fn body(&self) -> Result<types::OutgoingBody, ()> {
        if self.has_body.replace(true) { Err(()) } else { Ok(OutgoingBody::of_request()) }
    }

    fn method(&self) -> Method {
        self.method.borrow().clone()
    }

    fn set_method(&self, method: Method) -> Result<(), ()> {
        if matches!(&method, Method::Other(name) if !is_name(name)) {
            return Err(());
        }
        self.method.replace(method);
        Ok(())
    }

    fn path_with_query(&self) -> Option<String> {
        self.target.borrow().clone()
    }

    fn set_path_with_query(&self, target: Option<String>) -> Result<(), ()> {
        is_visible(&target)?;
        self.target.replace(target);
        Ok(())
    }

    fn scheme(&self) -> Option<Scheme> {
        self.scheme.borrow().clone()
    }

    fn set_scheme(&self, scheme: Option<Scheme>) -> Result<(), ()> {
        self.scheme.replace(scheme);
        Ok(())
    }

    fn authority(&self) -> Option<String> {
        self.authority.borrow().clone()
    }

    fn set_authority(&self, authority: Option<String>) -> Result<(), ()> {
        is_visible(&authority)?;
        self.authority.replace(authority);
        Ok(())
    }

    fn headers(&self) -> types::Headers {
        self.fields.immutable()
    }
}

#[derive(Default)]
pub struct RequestOptions {
    connect: Cell<Option<u64>>,
    first_byte: Cell<Option<u64>>,
    between_bytes: Cell<Option<u64>>,
}

impl types::GuestRequestOptions for RequestOptions {
    fn new() -> Self {
        Self::default()
    }

    fn connect_timeout(&self) -> Option<u64> {
        self.connect.get()
    }

    fn set_connect_timeout(&self, duration: Option<u64>) -> Result<(), ()> {
        self.connect.set(duration);
        Ok(())
    }

    fn first_byte_timeout(&self) -> Option<u64> {
        self.first_byte.get()
    }

    fn set_first_byte_timeout(&self, duration: Option<u64>) -> Result<(), ()> {
        self.first_byte.set(duration);
        Ok(())
    }

    fn between_bytes_timeout(&self) -> Option<u64> {
        self.between_bytes.get()
    }

    fn set_between_bytes_timeout(&self, duration: Option<u64>) -> Result<(), ()> {
        self.between_bytes.set(duration);
        Ok(())
    }
}

/// The response to an outgoing request: there is none.
pub enum NoResponse {}

impl types::GuestFutureIncomingResponse for NoResponse {
    fn subscribe(&self) -> Pollable {
        match *self {}
    }

    fn get(&self) -> Option<Result<Result<types::IncomingResponse, ErrorCode>, ()>> {
        match *self {}
    }
}

impl types::GuestIncomingResponse for NoResponse {
    fn status(&self) -> u16 {
        match *self {}
    }

    fn headers(&self) -> types::Headers {
        match *self {}
    }

    fn consume(&self) -> Result<types::IncomingBody, ()> {
        match *self {}
    }
}
