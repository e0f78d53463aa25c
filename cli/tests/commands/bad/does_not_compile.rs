//! A forgotten semicolon, and a value of the wrong type.

fn main() {
    let backlog: i32 = "five";
    println!("{backlog}")
