//! Prints thirty lines, one call of `println!` each: the request's variables, then numbered lines.

const LINES: usize = 30;

fn main() {
    println!("content-type: text/plain; charset=utf-8");
    println!();
    let variables = std::env::vars().map(|(name, value)| format!("{name}={value}"));
    let numbered = (1..).map(|number| format!("line {number}"));
    for line in variables.chain(numbered).take(LINES) {
        println!("{line}");
    }
}
