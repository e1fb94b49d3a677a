//! Money: exact, from the vendor's bytes to the caller's.

use std::{fmt, ops::Neg, str::FromStr};

use rust_decimal::Decimal;

/// An exact amount. Two amounts are equal when they are worth the same, however they were written.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Amount(Decimal);

impl Amount {
    /// Nothing at all.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// Takes a decimal, whatever its scale.
    #[must_use]
    pub fn new(value: Decimal) -> Self {
        Self(value.normalize())
    }

    /// Without its sign.
    #[must_use]
    pub fn magnitude(self) -> Self {
        Self(self.0.abs())
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0 < Decimal::ZERO
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The number, for the database.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        self.0
    }
}

impl Neg for Amount {
    type Output = Self;

    fn neg(self) -> Self {
        Self(if self.0.is_zero() { self.0 } else { -self.0 })
    }
}

impl fmt::Display for Amount {
    /// At least two fraction digits, and never an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.scale() < 2 {
            write!(f, "{:.2}", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// The text is no amount that can be held exactly.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a decimal number of at most 28 digits")]
pub struct NotAnAmount;

impl FromStr for Amount {
    type Err = NotAnAmount;

    /// Reads decimal text, with or without an exponent. Nothing is rounded: what does not fit is
    /// refused.
    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            None => (text, 0),
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().map_err(|_| NotAnAmount)?),
        };
        // The parser also knows separators and a bare point, which no vendor means as a number.
        let plain = digits.strip_prefix('-').unwrap_or(digits);
        let well_formed = plain.starts_with(|c: char| c.is_ascii_digit())
            && plain.ends_with(|c: char| c.is_ascii_digit())
            && plain.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if !well_formed {
            return Err(NotAnAmount);
        }
        let value = Decimal::from_str_exact(digits).map_err(|_| NotAnAmount)?;
        shift(value, exponent).map(Self::new).ok_or(NotAnAmount)
    }
}

/// `value` times ten to the power of `exponent`, if that is exact.
fn shift(value: Decimal, exponent: i32) -> Option<Decimal> {
    let value = value.normalize();
    let scale = i32::try_from(value.scale()).ok()?.checked_sub(exponent)?;
    if let Ok(scale) = u32::try_from(scale) {
        let mut shifted = value;
        shifted.set_scale(scale).ok()?;
        return Some(shifted);
    }
    let factor = 10_i128.checked_pow(scale.unsigned_abs())?;
    let mantissa = value.mantissa().checked_mul(factor)?;
    Decimal::try_from_i128_with_scale(mantissa, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn an_amount_is_what_it_is_worth() {
        assert_eq!(amount("149.9"), amount("149.900"));
        assert_eq!(amount("1e2"), amount("100"));
        assert_eq!(amount("1.5E-3"), amount("0.0015"));
        assert_eq!(amount("-0"), Amount::ZERO);
        assert_ne!(amount("0.1"), amount("0.10000000000000001"));
    }

    #[test]
    fn an_amount_is_written_with_two_digits_or_more() {
        for (text, written) in [
            ("149.9", "149.90"),
            ("-42.31", "-42.31"),
            ("0.0015", "0.0015"),
            ("12", "12.00"),
            ("-0.0", "0.00"),
            ("1e3", "1000.00"),
            ("123456789012345.6789", "123456789012345.6789"),
        ] {
            assert_eq!(amount(text).to_string(), written);
        }
        assert_eq!((-amount("0")).to_string(), "0.00");
    }

    #[test]
    fn what_can_not_be_held_exactly_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1_000",
            "1,5",
            "+1",
            "0x10",
            "NaN",
            "1.2.3",
            " 1",
            "1e",
            "1e99",
            "1e-99",
            "1e2147483648",
            "12345678901234567890123456789012345",
            "0.12345678901234567890123456789",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(NotAnAmount), "{text:?}");
        }
    }
}
