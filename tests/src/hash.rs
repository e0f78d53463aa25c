//! A short name for a text.

/// FNV-1a, 64 bits: the same in every version of the course.
pub fn hash(text: &[u8]) -> String {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// What a recorded run says of its own text, so that an edit shows.
pub fn sum(text: &str) -> String {
    format!("text {}", hash(text.trim().as_bytes()))
}

/// Was this snapshot written as it is? One without a sum is trusted.
pub fn is_whole(snapshot: &str) -> bool {
    // `---`, insta's own notes, `---`, the text.
    let mut parts = snapshot.splitn(3, "---\n").skip(1);
    let (Some(notes), Some(text)) = (parts.next(), parts.next()) else {
        return false;
    };
    let said = notes.lines().find_map(|l| l.strip_prefix("description: "));
    said.is_none_or(|said| said.trim_matches('"') == sum(text))
}
