//! Where a body ends and what it is, by reading whole lines and knowing no state but the last line's.
//!
//! What the framer is held against, by the tests and by the fuzz targets. It is slow, and short enough to be
//! right at a glance.

/// The body at the front of `raw` and what is left behind its terminator; `None` when it has not ended.
pub fn body<'a>(status_line: &[u8], raw: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let bare = |line: &[u8]| !line.ends_with(b"\r\n");
    let first = raw.split_inclusive(|octet| *octet == b'\n').next().unwrap_or(b"");
    let lf_reply = bare(status_line) || bare(first);
    let mut body = Vec::new();
    let mut rest = raw;
    let mut starts_line = true;
    while let Some(lf) = rest.iter().position(|octet| *octet == b'\n') {
        let (line, behind) = rest.split_at(lf + 1);
        rest = behind;
        if starts_line && (line == b".\r\n" || (lf_reply && line == b".\n")) {
            return Some((body, rest));
        }
        let stuffed = starts_line && line.starts_with(b"..");
        body.extend_from_slice(&line[usize::from(stuffed)..]);
        starts_line = lf_reply || !bare(line);
    }
    None
}
