//! The integration tests: one binary, driven through the router and the commands.
