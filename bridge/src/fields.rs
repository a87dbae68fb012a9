//! Header fields: `wasi:http/types` `fields`.

use alloc::{rc::Rc, string::String, vec::Vec};
use core::cell::RefCell;

use crate::exports::wasi::http::types::{self, HeaderError};

/// Fields that a handler may set and no client gets: those of one connection (RFC 9110 section 7.6.1), `Host`, and
/// `Status`, which is CGI's.
const NOT_SENT: [&str; 10] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "status",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Names, in lower case, and values.
pub type List = Vec<(String, Vec<u8>)>;

#[derive(Clone)]
pub struct Fields {
    list: Rc<RefCell<List>>,
    is_immutable: bool,
}

impl Fields {
    pub fn with(list: List) -> Self {
        Fields { list: Rc::new(RefCell::new(list)), is_immutable: false }
    }

    /// The same fields as a resource that cannot change them.
    pub fn immutable(&self) -> types::Fields {
        types::Fields::new(Fields { list: self.list.clone(), is_immutable: true })
    }

    /// Writes the fields that are sent as lines of CGI's header block.
    pub fn print(&self, block: &mut Vec<u8>) {
        for (name, value) in self.list.borrow().iter() {
            if !NOT_SENT.contains(&name.as_str()) {
                block.extend_from_slice(name.as_bytes());
                block.extend_from_slice(b": ");
                block.extend_from_slice(value);
                block.extend_from_slice(b"\r\n");
            }
        }
    }

    fn check(&self, name: &str, values: &[Vec<u8>]) -> Result<(), HeaderError> {
        if self.is_immutable {
            return Err(HeaderError::Immutable);
        }
        if !is_name(name) || !values.iter().all(|value| is_value(value)) {
            return Err(HeaderError::InvalidSyntax);
        }
        Ok(())
    }

    fn remove(&self, name: &str) {
        self.list.borrow_mut().retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    fn add(&self, name: &str, value: Vec<u8>) {
        self.list.borrow_mut().push((name.to_ascii_lowercase(), value));
    }
}

impl types::GuestFields for Fields {
    fn new() -> Self {
        Fields::with(Vec::new())
    }

    fn from_list(entries: List) -> Result<types::Fields, HeaderError> {
        let fields = Fields::with(Vec::new());
        for (name, value) in entries {
            fields.append(name, value)?;
        }
        Ok(types::Fields::new(fields))
    }

    fn get(&self, name: String) -> Vec<Vec<u8>> {
        let list = self.list.borrow();
        let found = list.iter().filter(|(own, _)| own.eq_ignore_ascii_case(&name));
        found.map(|(_, value)| value.clone()).collect()
    }

    fn has(&self, name: String) -> bool {
        self.list.borrow().iter().any(|(own, _)| own.eq_ignore_ascii_case(&name))
    }

    fn set(&self, name: String, values: Vec<Vec<u8>>) -> Result<(), HeaderError> {
        self.check(&name, &values)?;
        self.remove(&name);
        for value in values {
            self.add(&name, value);
        }
        Ok(())
    }

    fn delete(&self, name: String) -> Result<(), HeaderError> {
        self.check(&name, &[])?;
        self.remove(&name);
        Ok(())
    }

    fn append(&self, name: String, value: Vec<u8>) -> Result<(), HeaderError> {
        self.check(&name, core::slice::from_ref(&value))?;
        self.add(&name, value);
        Ok(())
    }

    fn entries(&self) -> List {
        self.list.borrow().clone()
    }

    fn clone(&self) -> types::Fields {
        types::Fields::new(Fields::with(self.entries()))
    }
}

/// A token (RFC 9110 section 5.6.2).
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_value(value: &[u8]) -> bool {
    value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}
