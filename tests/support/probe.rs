//! A component that does what its first argument after the path names; it prints a header block first.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    println!("content-type: text/plain\n");
    match arguments.get(1).map_or("", String::as_str) {
        "arguments" => println!("{arguments:?}"),
        "variables" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "read" => {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body).unwrap();
            std::io::stdout().write_all(&body).unwrap();
        }
        "stderr" => eprintln!("a line for the log"),
        "sleep" => std::thread::sleep(Duration::from_millis(200)),
        "panic" => panic!("the guest panics"),
        "list" => {
            let entries = fs::read_dir("/data").unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            println!("{names:?}");
        }
        "write" => println!("{:?}", fs::write("/data/new.txt", "new").map_err(|error| error.kind())),
        "file" => println!("{:?}", File::open(format!("/data/{}", arguments[2])).map(drop).map_err(|error| error.kind())),
        "outside" => println!("{:?}", File::open("/data/../secret.txt").map(drop).map_err(|error| error.kind())),
        "long" => println!("{:?}", File::open("/data/".to_string() + &"x".repeat(5000)).map(drop).map_err(|error| error.kind())),
        "open" => {
            let files: Vec<File> = std::iter::from_fn(|| File::open("/data/a.txt").ok()).collect();
            println!("{}", files.len());
        }
        "reopen" => println!("{}", (0..1000).filter(|_| File::open("/data/a.txt").is_ok()).count()),
        "open for ever" => loop {
            let _ = File::open("/data/f");
        },
        "sockets" => {
            println!("{:?}", TcpStream::connect("127.0.0.1:9").map(drop).map_err(|error| error.kind()));
            println!("{:?}", TcpListener::bind("127.0.0.1:0").map(drop).map_err(|error| error.kind()));
            println!("{:?}", UdpSocket::bind("127.0.0.1:0").map(drop).map_err(|error| error.kind()));
            println!("{:?}", "localhost:80".to_socket_addrs().map(drop).map_err(|error| error.kind()));
        }
        _ => println!("hello"),
    }
}
