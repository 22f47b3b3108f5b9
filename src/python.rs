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
    use pyo3::prelude::*;
    use pyo3::types::{PyBytes, PyDict, PyList, PyString};

    #[pymodule_export]
    use super::exceptions::{FramingError, FramingLimitError};
    use crate::{line, listing};

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

        fn feed(&mut self, octets: &[u8]) {
            self.0.feed(octets);
        }

        fn unread(&self) -> usize {
            self.0.unread()
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
            let Some(body) = self.0.next_body(max_octets)? else { return Ok(None) };
            let lines = PyList::new(py, line::contents(body).map(|line| PyBytes::new(py, line)))?;
            Ok(Some((lines, body.len())))
        }

        fn next_bytes<'py>(&mut self, py: Python<'py>, max_octets: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
            Ok(self.0.next_body(max_octets)?.map(|body| PyBytes::new(py, body)))
        }

        fn next_piece<'py>(&mut self, py: Python<'py>, max_octets: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
            Ok(self.0.next_piece(max_octets)?.map(|piece| PyBytes::new(py, piece)))
        }

        fn next_sizes<'py>(&mut self, py: Python<'py>, max_octets: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
            let Some(body) = self.0.next_body(max_octets)? else { return Ok(None) };
            let sizes = PyDict::new(py);
            for entry in listing::sizes(body) {
                let (number, octets) = entry?;
                sizes.set_item(number, octets)?;
            }
            Ok(Some(sizes))
        }

        fn next_unique_ids<'py>(&mut self, py: Python<'py>, max_octets: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
            let Some(body) = self.0.next_body(max_octets)? else { return Ok(None) };
            let unique_ids = PyDict::new(py);
            for entry in listing::unique_ids(body) {
                let (number, unique_id) = entry?;
                unique_ids.set_item(number, latin1(py, unique_id))?;
            }
            Ok(Some(unique_ids))
        }
    }

    /// Octets as the characters of the same numbers: nothing a server sends is lost, or refused.
    fn latin1<'py>(py: Python<'py>, octets: &[u8]) -> Bound<'py, PyString> {
        match std::str::from_utf8(octets) {
            Ok(ascii) if ascii.is_ascii() => PyString::new(py, ascii),
            _ => PyString::new(py, &octets.iter().map(|octet| char::from(*octet)).collect::<String>()),
        }
    }
}
