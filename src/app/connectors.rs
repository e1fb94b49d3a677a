//! Which connectors this deployment has.

use super::App;
use crate::domain::connector::ConnectorType;

impl App {
    /// The connector types that were registered at boot, by name.
    #[must_use]
    pub fn connector_types(&self) -> Vec<ConnectorType> {
        self.0.parts.registry.types().collect()
    }
}
