//! What is wrong with a configuration, all of it at once.

use std::fmt;

/// One thing that is wrong, in words that never repeat a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{variable} {message}")]
pub struct ConfigFault {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it and what to write instead; goes on where the name ends.
    pub message: String,
}

/// Everything that is wrong, in the order of the variables' documentation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigFaults {
    /// The faults, at least one.
    pub faults: Vec<ConfigFault>,
    /// What else was noticed; a misspelt name is often the cause of a fault.
    pub warnings: Vec<String>,
}

impl std::error::Error for ConfigFaults {}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => f.write_str("the configuration has 1 fault:")?,
            count => write!(f, "the configuration has {count} faults:")?,
        }
        for fault in &self.faults {
            write!(f, "\n- {fault}")?;
        }
        if !self.warnings.is_empty() {
            f.write_str("\nand this may be a slip:")?;
        }
        for warning in &self.warnings {
            write!(f, "\n- {warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfigFault, ConfigFaults};

    #[test]
    fn the_faults_are_listed_one_a_line_with_the_warnings_below() {
        let fault = |variable, message: &str| ConfigFault {
            variable,
            message: message.to_owned(),
        };
        let mut faults = ConfigFaults {
            faults: vec![fault("A", "is not set"), fault("B", "is odd")],
            warnings: vec!["C is set but never read".to_owned()],
        };
        assert_eq!(
            faults.to_string(),
            "the configuration has 2 faults:\n- A is not set\n- B is odd\n\
             and this may be a slip:\n- C is set but never read"
        );
        faults.faults.pop();
        faults.warnings.clear();
        assert_eq!(
            faults.to_string(),
            "the configuration has 1 fault:\n- A is not set"
        );
    }
}
