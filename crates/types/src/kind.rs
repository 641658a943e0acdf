use std::error::Error;
use std::fmt;

/// Says what a failure means to the one who asked; one table maps it to an HTTP status, one to an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The named object does not exist.
    NotFound,
    /// The object's state, or another object, forbids the request.
    Conflict,
    /// The object is already in the wanted state.
    NotModified,
    /// The request itself is wrong.
    Invalid,
    /// The request is understood and refused.
    Denied,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// Something that the request needs cannot be reached now.
    Unavailable,
    /// The request is legal but this engine does not do it.
    NotImplemented,
    /// Everything else: a fault of the engine or of the machine.
    Internal,
}

/// Prints an error and its sources joined by `": "`.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(link) = next {
            write!(f, ": {link}")?;
            next = link.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Collects the failures of a teardown that goes on after each of them.
#[derive(Debug, Default)]
pub struct ErrorList(Vec<Box<dyn Error + Send + Sync>>);

impl ErrorList {
    /// Remembers the error of `result`, if it has one, and returns its value.
    pub fn note<T, E: Into<Box<dyn Error + Send + Sync>>>(
        &mut self,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(error.into());
                None
            }
        }
    }

    /// Tells whether nothing failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the list as an error unless it is empty.
    ///
    /// # Errors
    /// The list itself.
    pub fn into_result(self) -> Result<(), ErrorList> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ErrorList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            let error: &(dyn Error + 'static) = error.as_ref();
            write!(f, "{}", Chain(error))?;
        }
        Ok(())
    }
}

impl Error for ErrorList {}
