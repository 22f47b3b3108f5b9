//! POP3 framing (RFC 1939), without I/O: octets in, replies out.
//!
//! In the order a byte travels:
//!
//! 1. [`Framer::feed`] puts what the network gave into the one receive buffer ([`buffer`]).
//! 2. [`Framer::next_status_line`] and its kin take one line from it ([`framer`], [`line`]).
//! 3. What a status line says is decided in one place ([`status`]).
//! 4. [`Framer::next_response`], [`Framer::next_body`] or [`Framer::next_piece`] take a multi-line response, with
//!    the end found by the reply's own line convention and the dots un-stuffed ([`body`]).
//!    How much of one is taken at most, [`Limits`] says ([`limits`]).
//! 5. A scan listing or a unique-id listing is read entry by entry ([`listing`]).
//! 6. What cannot be framed is a [`FramingError`] ([`error`]), and stays one.
//!
//! Beside that way stand [`blocks`], for whoever writes a body to a file, and [`checksum`], for whoever reads again what
//! was written.
//!
//! The crate knows nothing of sockets or of Python. The feature `python` adds `python`, the one
//! module that does: it converts and delegates.

pub mod blocks;
pub mod body;
pub mod buffer;
pub mod checksum;
pub mod error;
pub mod framer;
pub mod limits;
pub mod line;
pub mod listing;
#[cfg(feature = "python")]
mod python;
pub mod status;

pub use blocks::Blocks;
pub use body::BodyScanner;
pub use checksum::Checksum;
pub use error::FramingError;
pub use framer::Framer;
pub use limits::Limits;
