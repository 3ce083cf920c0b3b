//! What a run compared, and whether that was enough to say something.

/// Counts of a run.
#[derive(Default)]
pub struct Counts {
    /// Programs looked at.
    pub programs: u64,
    /// Instructions of the first engine.
    pub instructions: u64,
    /// Programs that did not come to their end.
    pub unfinished: u64,
    /// Programs that could not be run.
    pub too_large: u64,
    /// Differences, and what did not end as it should.
    pub differences: u64,
}

/// Of fewer programs it says nothing if some were not compared to their end.
const FEW: u64 = 20;
/// One in so many need not be.
const FLOOR: u64 = 10;

impl Counts {
    /// What is missing for the run to prove something, if anything is.
    pub fn lacking(&self) -> Option<String> {
        let Counts { programs, unfinished, too_large, .. } = *self;
        if programs == too_large {
            return Some(format!("nothing was compared: {too_large} programs are too large"));
        }
        let much = programs >= FEW && FLOOR * (unfinished + too_large) > programs;
        much.then(|| {
            format!("of {programs} programs, {unfinished} did not end and {too_large} are too large")
        })
    }

    /// Whether all is well; says what is missing, if anything is.
    pub fn conclude(&self) -> bool {
        let lacking = self.lacking();
        if let Some(why) = &lacking {
            println!("TOO LITTLE: {why}");
        }
        self.differences == 0 && lacking.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compares_little_is_no_success() {
        let counts =
            |programs, unfinished, too_large| Counts { programs, unfinished, too_large, ..Counts::default() };
        assert!(counts(0, 0, 0).lacking().is_some() && counts(1, 0, 1).lacking().is_some());
        assert!(counts(1, 0, 0).conclude() && counts(1, 1, 0).conclude());
        assert!(counts(100, 6, 4).conclude());
        assert!(!counts(100, 6, 5).conclude() && !counts(100, 11, 0).conclude());
        assert!(!Counts { differences: 1, ..counts(100, 0, 0) }.conclude());
    }
}
