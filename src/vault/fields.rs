//! Several byte strings as one, so that no two lists of them ever read the same.

/// Bytes of the length in front of each field.
const PREFIX: usize = size_of::<u64>();

/// Writes the fields one after the other, each behind its length.
///
/// Without the lengths, `("ab", "c")` and `("a", "bc")` would be one and the same to an
/// authenticator. The buffer is allocated once: growing would leave copies of a secret behind.
pub(super) fn encode(fields: &[&[u8]]) -> Vec<u8> {
    let length = fields.iter().map(|field| PREFIX + field.len()).sum();
    let mut bytes = Vec::with_capacity(length);
    for field in fields {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// Reads exactly `N` fields; `None` when there are fewer, more, or a length that lies.
pub(super) fn decode<const N: usize>(mut bytes: &[u8]) -> Option<[&[u8]; N]> {
    let mut fields: [&[u8]; N] = [&[]; N];
    for field in &mut fields {
        let (length, rest) = bytes.split_first_chunk::<PREFIX>()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        (*field, bytes) = rest.split_at_checked(length)?;
    }
    bytes.is_empty().then_some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn where_a_field_ends_is_part_of_the_encoding() {
        assert_ne!(encode(&[b"ab", b"c"]), encode(&[b"a", b"bc"]));
        assert_ne!(encode(&[b"abc"]), encode(&[b"abc", b""]));
        assert_ne!(encode(&[b"", b"abc"]), encode(&[b"abc", b""]));
    }

    #[test]
    fn the_encoding_is_a_big_endian_length_and_the_bytes() {
        assert_eq!(
            encode(&[b"abc", b""]),
            b"\0\0\0\0\0\0\0\x03abc\0\0\0\0\0\0\0\0"
        );
    }

    #[test]
    fn the_buffer_never_grows() {
        let bytes = encode(&[b"client", b"secret"]);
        assert_eq!(bytes.capacity(), bytes.len());
    }

    #[test]
    fn another_number_of_fields_is_not_read() {
        let two = encode(&[b"client", b"secret"]);
        assert_eq!(decode::<1>(&two), None);
        assert_eq!(decode::<2>(&two), Some([&b"client"[..], &b"secret"[..]]));
        assert_eq!(decode::<3>(&two), None);
    }

    #[test]
    fn a_cut_or_lengthened_encoding_is_not_read() {
        let whole = encode(&[b"client", b"secret"]);
        for end in 0..whole.len() {
            assert_eq!(decode::<2>(&whole[..end]), None, "cut at {end}");
        }
        let longer = [&whole[..], b"\0"].concat();
        assert_eq!(decode::<2>(&longer), None);
    }

    #[test]
    fn a_length_beyond_the_end_is_not_read() {
        assert_eq!(decode::<1>(&[0xff; 64]), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(a: Vec<u8>, b: Vec<u8>, c: Vec<u8>) {
            let bytes = encode(&[&a, &b, &c]);
            prop_assert_eq!(decode::<3>(&bytes), Some([&a[..], &b[..], &c[..]]));
        }

        #[test]
        fn arbitrary_bytes_are_read_as_themselves_or_not_at_all(bytes: Vec<u8>) {
            if let Some(fields) = decode::<2>(&bytes) {
                prop_assert_eq!(encode(&fields), bytes);
            }
        }
    }
}
