//! The key ring, as text: the vault knows what it means.

use std::convert::Infallible;

use super::{ConfigFault, needed, reader::Reader, variables::KEYRING};
use crate::domain::secret::SecretText;

/// The key ring's settings.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The key ring; `None` only where the profile lets it be missing.
    pub ring: Option<SecretText>,
}

impl Keys {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            ring: reader.required(&KEYRING, |text| {
                Ok::<_, Infallible>(SecretText::new(text.to_owned()))
            }),
        }
    }

    /// The key ring, where it must be there by now.
    pub fn ring(&self) -> Result<&SecretText, ConfigFault> {
        needed(self.ring.as_ref(), &KEYRING)
    }
}
