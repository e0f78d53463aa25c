//! Prints as fast as it can, for ever.

fn main() {
    loop {
        println!("listening");
    }
}
