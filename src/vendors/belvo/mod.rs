//! Belvo: Basic auth, reads only.
