//! Writes three lines to the module's log and one sentence to the client.

fn main() {
    eprintln!("log: the request has arrived");
    eprintln!("log: what a guest writes to standard error never reaches the client");
    eprintln!("log: the request is done");

    println!("content-type: text/plain; charset=utf-8");
    println!();
    println!("Three lines were written to this module's log.");
}
