//! Bodies, read no further than their cap.

use super::error::NetError;

/// Reads the body of `answer`. What counts against `cap` is the decompressed size, so that a small
/// body that unpacks to a huge one is noticed on the way.
pub(super) async fn read(mut answer: reqwest::Response, cap: usize) -> Result<Vec<u8>, NetError> {
    // An honest length saves the transfer. The length of a compressed body says nothing and is
    // not given here.
    let announced = answer.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > cap {
        return Err(NetError::TooLarge { cap });
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = answer.chunk().await.map_err(NetError::of_body)? {
        if chunk.len() > cap - body.len() {
            return Err(NetError::TooLarge { cap });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
