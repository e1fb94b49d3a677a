//! Discovery connections: databases and REST endpoints, what they offer, and whether they can be
//! reached.

mod sources;

pub use self::sources::Obstacle;
