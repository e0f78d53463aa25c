//! Begins well, and stops at a `todo!`.

fn main() {
    println!("listening on 192.168.1.109:2000");
    todo!("the rest")
}
