//! The Python module `pop3fast._framing`: converts and delegates.
//!
//! The only file that names pyo3. No POP3 logic here: what a reply is, and where it ends, is the core's.
//! Its contract for Python is typed and documented in `python/pop3fast/_framing.pyi`.

use pyo3::prelude::*;

use crate::error::FramingError as Error;

mod exceptions {
    use pyo3::create_exception;
    use pyo3::exceptions::PyException;

    create_exception!(pop3fast._framing, FramingError, PyException, "What was received cannot be framed.");
    create_exception!(pop3fast._framing, FramingLimitError, FramingError, "A limit of the framer was passed.");
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        if error.is_limit() {
            exceptions::FramingLimitError::new_err(error.to_string())
        } else {
            exceptions::FramingError::new_err(error.to_string())
        }
    }
}

/// The receive buffer and what is expected next.
#[pymodule(gil_used = false)]
mod _framing {
    use pyo3::buffer::PyBuffer;
    use pyo3::intern;
    use pyo3::prelude::*;
    use pyo3::types::{PyBytes, PyDict, PyList, PyString};

    #[pymodule_export]
    use super::exceptions::{FramingError, FramingLimitError};
    use crate::status::{self as core_status, Status};
    use crate::{Limits, line, listing};

    /// The version of crate and package, which is written in `Cargo.toml` and nowhere else.
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "the name that Python has for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// From so many octets on, some ten microseconds of work, the interpreter is handed to other threads meanwhile.
    const DETACH_OCTETS: usize = 32 * 1024;

    /// From so many octets on, the same of a checksum, which takes fifty octets in a nanosecond.
    const CHECKSUM_DETACH_OCTETS: usize = 512 * 1024;

    type LinesResponse<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyList>>, usize);
    type BodiesAndRefusal<'py> = (Vec<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>);
    type PiecesAndRefusal<'py> = (Vec<(Bound<'py, PyBytes>, bool)>, Option<Bound<'py, PyBytes>>);
    type BytesResponse<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>);

    /// Octets in, replies out; `None` is "need more".
    #[pyclass(module = "pop3fast._framing")]
    #[derive(Default)]
    struct Framer(crate::Framer);

    #[pymethods]
    impl Framer {
        #[new]
        fn new() -> Self {
            Self::default()
        }

        #[allow(clippy::needless_pass_by_value)] // how pyo3 hands over a buffer
        fn feed(&mut self, py: Python<'_>, octets: PyBuffer<u8>) -> PyResult<()> {
            octets.copy_to_slice(py, self.0.room(octets.item_count()))
        }

        fn unread(&self) -> usize {
            self.0.unread()
        }

        fn in_body(&self) -> bool {
            self.0.in_body()
        }

        fn has_failed(&self) -> bool {
            self.0.has_failed()
        }

        fn next_line<'py>(&mut self, py: Python<'py>, limit: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
            Ok(self.0.next_line(limit)?.map(|line| PyBytes::new(py, line)))
        }

        fn next_status_line<'py>(&mut self, py: Python<'py>, limit: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
            Ok(self.0.next_status_line(limit)?.map(|line| PyBytes::new(py, line)))
        }

        fn next_octets<'py>(&mut self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyBytes>> {
            Ok(PyBytes::new(py, self.0.next_octets(limit)?))
        }

        fn next_lines<'py>(
            &mut self,
            py: Python<'py>,
            max_octets: u64,
        ) -> PyResult<Option<(Bound<'py, PyList>, usize)>> {
            let Some(body) = self.0.next_body(Limits::lines(max_octets))? else { return Ok(None) };
            Ok(Some((lines(py, body)?, body.len())))
        }

        fn next_bytes<'py>(&mut self, py: Python<'py>, max_octets: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
            Ok(self.0.next_body(Limits::octets(max_octets))?.map(|body| PyBytes::new(py, body)))
        }

        fn next_listing<'py>(&mut self, py: Python<'py>, max_octets: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
            Ok(self.0.next_body(Limits::listing(max_octets))?.map(|body| PyBytes::new(py, body)))
        }

        fn next_piece<'py>(&mut self, py: Python<'py>, max_octets: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
            Ok(self.0.next_piece(Limits::octets(max_octets))?.map(|piece| PyBytes::new(py, piece)))
        }

        fn next_lines_response<'py>(
            &mut self,
            py: Python<'py>,
            limit: usize,
            max_octets: u64,
        ) -> PyResult<Option<LinesResponse<'py>>> {
            let limits = Limits::lines(max_octets);
            let Some(response) = self.0.next_response(limit, limits)? else { return Ok(None) };
            let octets = response.body.map_or(0, <[u8]>::len);
            let body = response.body.map(|body| lines(py, body)).transpose()?;
            Ok(Some((PyBytes::new(py, response.status_line), body, octets)))
        }

        fn next_bodies<'py>(
            &mut self,
            py: Python<'py>,
            limit: usize,
            max_octets: u64,
            most: usize,
        ) -> PyResult<BodiesAndRefusal<'py>> {
            self.bodies(py, limit, Limits::octets(max_octets), most)
        }

        fn next_listings<'py>(
            &mut self,
            py: Python<'py>,
            limit: usize,
            max_octets: u64,
            most: usize,
        ) -> PyResult<BodiesAndRefusal<'py>> {
            self.bodies(py, limit, Limits::listing(max_octets), most)
        }

        fn next_pieces<'py>(
            &mut self,
            py: Python<'py>,
            limit: usize,
            max_octets: u64,
            most: usize,
            octets: usize,
        ) -> PyResult<PiecesAndRefusal<'py>> {
            let mut pieces = Vec::new();
            let each = |piece: &[u8], last| pieces.push((PyBytes::new(py, piece), last));
            let refused = self.0.next_pieces(limit, Limits::octets(max_octets), most, octets.max(1), each)?;
            Ok((pieces, refused.map(|line| PyBytes::new(py, line))))
        }

        fn next_bytes_response<'py>(
            &mut self,
            py: Python<'py>,
            limit: usize,
            max_octets: u64,
        ) -> PyResult<Option<BytesResponse<'py>>> {
            self.bytes_response(py, limit, Limits::octets(max_octets))
        }

        fn next_listing_response<'py>(
            &mut self,
            py: Python<'py>,
            limit: usize,
            max_octets: u64,
        ) -> PyResult<Option<BytesResponse<'py>>> {
            self.bytes_response(py, limit, Limits::listing(max_octets))
        }
    }

    impl Framer {
        fn bodies<'py>(
            &mut self,
            py: Python<'py>,
            limit: usize,
            limits: Limits,
            most: usize,
        ) -> PyResult<BodiesAndRefusal<'py>> {
            let mut bodies = Vec::new();
            let refused = self.0.next_bodies(limit, limits, most, |body| bodies.push(PyBytes::new(py, body)))?;
            Ok((bodies, refused.map(|line| PyBytes::new(py, line))))
        }

        fn bytes_response<'py>(
            &mut self,
            py: Python<'py>,
            limit: usize,
            limits: Limits,
        ) -> PyResult<Option<BytesResponse<'py>>> {
            let Some(response) = self.0.next_response(limit, limits)? else { return Ok(None) };
            let body = response.body.map(|body| PyBytes::new(py, body));
            Ok(Some((PyBytes::new(py, response.status_line), body)))
        }
    }

    /// Octets on their way into a file.
    #[pyclass(module = "pop3fast._framing")]
    struct Blocks(crate::Blocks);

    #[pymethods]
    impl Blocks {
        #[new]
        #[pyo3(signature = (octets, *, in_lf))]
        fn new(octets: usize, in_lf: bool) -> Self {
            Self(crate::Blocks::new(octets, in_lf))
        }

        fn feed<'py>(&mut self, py: Python<'py>, octets: &[u8]) -> Bound<'py, PyBytes> {
            if octets.len() < DETACH_OCTETS {
                self.0.feed(octets);
            } else {
                py.detach(|| self.0.feed(octets));
            }
            PyBytes::new(py, self.0.full())
        }

        fn rest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
            PyBytes::new(py, self.0.rest())
        }
    }

    /// The checksum of octets that come in pieces.
    #[pyclass(module = "pop3fast._framing")]
    #[derive(Default)]
    struct Checksum(crate::Checksum);

    #[pymethods]
    impl Checksum {
        #[new]
        fn new() -> Self {
            Self::default()
        }

        fn feed(&mut self, py: Python<'_>, octets: &[u8]) {
            if octets.len() < CHECKSUM_DETACH_OCTETS {
                self.0.feed(octets);
            } else {
                py.detach(|| self.0.feed(octets));
            }
        }

        fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
            PyBytes::new(py, &self.0.value())
        }
    }

    #[pyfunction]
    fn most_lines(max_octets: u64) -> u64 {
        Limits::lines(max_octets).lines
    }

    #[pyfunction]
    fn status<'py>(py: Python<'py>, line: &[u8]) -> &'py Bound<'py, PyString> {
        name_of(py, core_status::status(line))
    }

    #[pyfunction]
    fn strict_status<'py>(py: Python<'py>, line: &[u8]) -> &'py Bound<'py, PyString> {
        name_of(py, core_status::strict_status(line))
    }

    fn name_of(py: Python<'_>, status: Status) -> &Bound<'_, PyString> {
        match status {
            Status::Ok => intern!(py, "ok"),
            Status::Error => intern!(py, "error"),
            Status::ErrorAfterOk => intern!(py, "error after ok"),
            Status::Malformed => intern!(py, "malformed"),
        }
    }

    #[pyfunction]
    fn split_lines<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyList>> {
        lines(py, body)
    }

    #[pyfunction]
    fn parse_sizes<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyDict>> {
        let sizes = PyDict::new(py);
        for entry in listing::sizes(body) {
            let (number, octets) = entry?;
            sizes.set_item(number, octets)?;
        }
        Ok(sizes)
    }

    #[pyfunction]
    fn parse_unique_ids<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyDict>> {
        let unique_ids = PyDict::new(py);
        for entry in listing::unique_ids(body) {
            let (number, unique_id) = entry?;
            unique_ids.set_item(number, latin1(py, unique_id))?;
        }
        Ok(unique_ids)
    }

    fn lines<'py>(py: Python<'py>, body: &[u8]) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, line::contents(body).map(|line| PyBytes::new(py, line)))
    }

    /// Octets as the characters of the same numbers: nothing a server sends is lost, or refused.
    fn latin1<'py>(py: Python<'py>, octets: &[u8]) -> Bound<'py, PyString> {
        match std::str::from_utf8(octets) {
            Ok(ascii) if ascii.is_ascii() => PyString::new(py, ascii),
            _ => PyString::new(py, &octets.iter().map(|octet| char::from(*octet)).collect::<String>()),
        }
    }
}
