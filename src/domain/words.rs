//! Enums whose variants are words, on the wire and in the database.

/// The text is none of the words there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is none of the words there are")]
pub struct UnknownWord;

/// An enum and its words; the error is what reading another text comes to.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $error:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        $crate::domain::words::words_of!($name, $error { $($variant = $word,)+ });
    };
}

/// The words of an enum that there is.
macro_rules! words_of {
    ($name:ident, $error:ident { $($variant:ident = $word:literal,)+ }) => {
        impl $name {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name on the wire and in the database.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err($error) }
            }
        }
    };
}

pub(super) use {words, words_of};
