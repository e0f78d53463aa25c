//! This crate's only `unsafe`.

/// Sets a variable unless it is set.
///
/// # Safety
///
/// No other thread runs yet (`std::env::set_var`).
pub(crate) unsafe fn set_default(name: &str, value: &str) {
    if std::env::var_os(name).is_none() {
        // SAFETY: the caller's promise.
        unsafe { std::env::set_var(name, value) };
    }
}
