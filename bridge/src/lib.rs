//! `wasi:http` for one request, on CGI: the environment and standard input are the request, standard output the response.
//!
//! `wagi-gateway bridge` composes this component around one that exports `wasi:http/incoming-handler@0.2`. Bodies do not
//! pass through it: their streams are the standard streams themselves.

#![no_std]

extern crate alloc;

mod fields;
mod outgoing;
mod request;
mod response;

wit_bindgen::generate!({ world: "bridge", generate_all });

use core::alloc::{GlobalAlloc, Layout};

use exports::wagi::bridge::exchange;
use exports::wasi::http::types;

#[link(name = "c")]
extern "C" {
    fn malloc(size: usize) -> *mut u8;
    fn realloc(address: *mut u8, size: usize) -> *mut u8;
    fn free(address: *mut u8);
}

/// The C library's allocator.
struct Malloc;

/// The alignment of what `malloc` returns; nothing here needs a larger one.
const ALIGNMENT: usize = 16;

unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGNMENT {
            return core::ptr::null_mut();
        }
        malloc(layout.size())
    }

    unsafe fn dealloc(&self, address: *mut u8, _layout: Layout) {
        free(address);
    }
}

#[global_allocator]
static ALLOCATOR: Malloc = Malloc;

/// Allocates what is passed in, by the allocator that frees it.
#[export_name = "cabi_realloc"]
unsafe extern "C" fn cabi_realloc(old: *mut u8, _old_size: usize, align: usize, size: usize) -> *mut u8 {
    if size == 0 {
        return align as *mut u8;
    }
    let new = realloc(old, size);
    if new.is_null() || align > ALIGNMENT {
        core::arch::wasm32::unreachable();
    }
    new
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

/// A value of the only thread.
struct Single<T>(T);

unsafe impl<T> Sync for Single<T> {}

struct Bridge;

impl types::Guest for Bridge {
    type Fields = fields::Fields;
    type IncomingRequest = request::IncomingRequest;
    type IncomingBody = request::IncomingBody;
    type FutureTrailers = request::FutureTrailers;
    type OutgoingResponse = response::OutgoingResponse;
    type OutgoingBody = response::OutgoingBody;
    type ResponseOutparam = response::ResponseOutparam;
    type OutgoingRequest = outgoing::OutgoingRequest;
    type RequestOptions = outgoing::RequestOptions;
    type FutureIncomingResponse = outgoing::NoResponse;
    type IncomingResponse = outgoing::NoResponse;

    fn http_error_code(_error: &types::IoError) -> Option<types::ErrorCode> {
        None
    }
}

impl exchange::Guest for Bridge {
    fn request() -> types::IncomingRequest {
        types::IncomingRequest::new(request::IncomingRequest::read())
    }

    fn response() -> types::ResponseOutparam {
        types::ResponseOutparam::new(response::ResponseOutparam)
    }

    fn finish() -> Result<(), ()> {
        response::finish()
    }
}

export!(Bridge);
