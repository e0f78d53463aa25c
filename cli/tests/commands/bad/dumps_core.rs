//! Ends by SIGABRT, which writes a core file where one is allowed.

fn main() {
    std::process::abort();
}
