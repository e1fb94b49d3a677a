//! The stand-ins for a laptop.

mod embedded_pg;
