//! Answers that are too large to be held.

use http_body_util::BodyExt as _;
use hyper::body::Bytes;

use super::{
    Failure,
    line::{Line, Step},
};

impl Line {
    /// Asks once, and hands over the body piece by piece, as it comes.
    pub(crate) async fn ask_for_pieces(
        &mut self,
        step: &Step,
        mut take: impl FnMut(&Bytes),
    ) -> Result<(), Failure> {
        let answer = self.send(step).await?;
        let status = answer.status();
        if status != step.status {
            let (method, path) = (&step.method, &step.path);
            return Err(format!("{method} {path} was answered {status}").into());
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(piece) = frame?.data_ref() {
                take(piece);
            }
        }
        Ok(())
    }
}
