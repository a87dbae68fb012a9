//! The response as CGI output: `wasi:http/types` `outgoing-response`, its body, and `response-outparam`.

use alloc::{format, rc::Rc, string::String};
use core::cell::{Cell, RefCell};

use crate::exports::wasi::http::types::{self, ErrorCode};
use crate::fields::Fields;
use crate::wasi::cli::{stderr::get_stderr, stdout::get_stdout};
use crate::wasi::io::streams::OutputStream;
use crate::Single;

struct Head {
    status: Cell<u16>,
    fields: Fields,
}

/// What was done about the response so far.
#[derive(Clone, Default)]
struct Progress {
    /// The head that is printed.
    head: Option<Rc<Head>>,
    /// Whether `response-outparam.set` was called.
    is_set: bool,
    has_failed: bool,
}

static PROGRESS: Single<RefCell<Progress>> =
    Single(RefCell::new(Progress { head: None, is_set: false, has_failed: false }));

/// Writes a line to the module's log.
pub fn log(line: &str) {
    write(&get_stderr(), format!("wasi:http bridge: {line}\n").as_bytes());
}

/// Ends the guest without a response, or in the middle of one.
fn abort(line: &str) -> ! {
    log(line);
    core::arch::wasm32::unreachable()
}

/// Called after the handler: fails if there is no response.
pub fn finish() -> Result<(), ()> {
    let progress = PROGRESS.0.borrow().clone();
    if !progress.is_set {
        let line = "the handler returned without a response: it did not call response-outparam.set";
        if progress.head.is_some() {
            abort(line);
        }
        log(line);
    }
    if progress.is_set && !progress.has_failed { Ok(()) } else { Err(()) }
}

fn write(stream: &OutputStream, bytes: &[u8]) {
    for piece in bytes.chunks(4096) {
        if stream.blocking_write_and_flush(piece).is_err() {
            return; // the client has gone
        }
    }
}

impl Head {
    /// Prints the header block once. Fails if that of another response is printed.
    fn print(self: &Rc<Head>) -> Result<(), ()> {
        let mut progress = PROGRESS.0.borrow_mut();
        if let Some(printed) = &progress.head {
            return if Rc::ptr_eq(printed, self) { Ok(()) } else { Err(()) };
        }
        progress.head = Some(self.clone());
        let mut block = format!("Status: {}\r\n", self.status.get()).into_bytes();
        self.fields.print(&mut block);
        block.extend_from_slice(b"\r\n");
        write(&get_stdout(), &block);
        Ok(())
    }

    fn is_printed(&self) -> bool {
        let progress = PROGRESS.0.borrow();
        progress.head.as_ref().is_some_and(|printed| core::ptr::eq(&**printed, self))
    }
}

pub struct OutgoingResponse {
    head: Rc<Head>,
    has_body: Cell<bool>,
}

impl types::GuestOutgoingResponse for OutgoingResponse {
    fn new(headers: types::Headers) -> Self {
        let head = Head { status: Cell::new(200), fields: headers.into_inner() };
        OutgoingResponse { head: Rc::new(head), has_body: Cell::new(false) }
    }

    fn status_code(&self) -> u16 {
        self.head.status.get()
    }

    fn set_status_code(&self, status: u16) -> Result<(), ()> {
        if !(200..=599).contains(&status) || self.head.is_printed() {
            return Err(());
        }
        self.head.status.set(status);
        Ok(())
    }

    fn headers(&self) -> types::Headers {
        self.head.fields.immutable()
    }

    fn body(&self) -> Result<types::OutgoingBody, ()> {
        if self.has_body.replace(true) {
            return Err(());
        }
        Ok(types::OutgoingBody::new(OutgoingBody { head: Some(self.head.clone()), is_taken: Cell::new(false) }))
    }
}

/// The body of a response, whose stream is the standard output itself; or of a request, which has none.
pub struct OutgoingBody {
    head: Option<Rc<Head>>,
    is_taken: Cell<bool>,
}

impl OutgoingBody {
    pub fn of_request() -> types::OutgoingBody {
        types::OutgoingBody::new(OutgoingBody { head: None, is_taken: Cell::new(false) })
    }
}

impl types::GuestOutgoingBody for OutgoingBody {
    /// Prints the head first if `response-outparam.set` does not come before: the body must not stand in its place.
    fn write(&self) -> Result<OutputStream, ()> {
        let head = self.head.as_ref().ok_or(())?;
        if self.is_taken.replace(true) {
            return Err(());
        }
        head.print()?;
        Ok(get_stdout())
    }

    fn finish(_this: types::OutgoingBody, _trailers: Option<types::Trailers>) -> Result<(), ErrorCode> {
        Ok(())
    }
}

pub struct ResponseOutparam;

impl types::GuestResponseOutparam for ResponseOutparam {
    fn send_informational(&self, _status: u16, _headers: types::Headers) -> Result<(), ErrorCode> {
        Ok(())
    }

    fn set(_param: types::ResponseOutparam, response: Result<types::OutgoingResponse, ErrorCode>) {
        PROGRESS.0.borrow_mut().is_set = true;
        let problem: String = match response {
            Ok(response) => match response.into_inner::<OutgoingResponse>().head.print() {
                Ok(()) => return,
                Err(()) => "the handler wrote the body of one response and set another".into(),
            },
            Err(code) => format!("the handler answered with an error: {code:?}"),
        };
        if PROGRESS.0.borrow().head.is_some() {
            abort(&problem);
        }
        PROGRESS.0.borrow_mut().has_failed = true;
        log(&problem);
    }
}

