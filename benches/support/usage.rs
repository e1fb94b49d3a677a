//! Whose processor time it was.

use super::processes::{self, MICROS_PER_TICK};

/// The processor time of some processes, each with all below it, and of this one without them.
pub(crate) struct Usage<const N: usize> {
    of: [u32; N],
    before: Option<Taken<N>>,
}

/// In microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Taken<const N: usize> {
    pub(crate) each: [u128; N],
    /// What this process took itself.
    pub(crate) own: u128,
}

impl<const N: usize> Usage<N> {
    /// Begins to watch processes that are below this one and not below each other.
    pub(crate) fn begin(of: [u32; N]) -> Self {
        Self {
            of,
            before: taken(of),
        }
    }

    /// What they took since; nothing where the system does not tell.
    pub(crate) fn end(self) -> Option<Taken<N>> {
        let (before, after) = (self.before?, taken(self.of)?);
        let mut each = [0; N];
        for (each, (after, before)) in each.iter_mut().zip(after.each.iter().zip(before.each)) {
            *each = after.saturating_sub(before);
        }
        Some(Taken {
            each,
            own: after.own.saturating_sub(before.own),
        })
    }
}

fn taken<const N: usize>(of: [u32; N]) -> Option<Taken<N>> {
    let mut each = [0; N];
    for (each, id) in each.iter_mut().zip(of) {
        *each = micros_below(id)?;
    }
    let all = micros_below(std::process::id())?;
    Some(Taken {
        own: all.saturating_sub(each.iter().sum()),
        each,
    })
}

fn micros_below(id: u32) -> Option<u128> {
    let ticks = processes::tree(id)?
        .iter()
        .map(|(_, _, ticks)| *ticks)
        .sum::<u64>();
    Some(u128::from(ticks) * u128::from(MICROS_PER_TICK))
}
