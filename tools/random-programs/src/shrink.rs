//! Making a program smaller while it keeps what is interesting about it.

use crate::op::{Op, Program};

/// How many pieces a program has.
pub fn pieces(program: &Program) -> usize {
    fn count(ops: &[Op]) -> usize {
        ops.iter().map(|op| 1 + op.bodies().into_iter().map(|body| count(body)).sum::<usize>()).sum()
    }
    program.functions.iter().map(|f| count(&f.body)).sum()
}

/// `program` without the pieces whose numbers, in order, are in the range; those in them go, too.
fn without(program: &Program, gone: &std::ops::Range<usize>) -> Program {
    fn drop(ops: &mut Vec<Op>, next: &mut usize, gone: &std::ops::Range<usize>) {
        ops.retain_mut(|op| {
            let number = *next;
            *next += 1;
            op.bodies_mut().into_iter().for_each(|body| drop(body, next, gone));
            !gone.contains(&number)
        });
    }
    let (mut smaller, mut next) = (program.clone(), 0);
    smaller.functions.iter_mut().for_each(|f| drop(&mut f.body, &mut next, gone));
    smaller
}

/// Programs with one loop less, its body in its place, or with fewer passes.
fn simpler(program: &Program, which: usize, unroll: bool) -> Option<Program> {
    fn change(ops: &mut Vec<Op>, next: &mut usize, which: usize, unroll: bool) -> bool {
        for at in 0..ops.len() {
            let number = *next;
            *next += 1;
            if number == which {
                return match &mut ops[at] {
                    Op::Loop { body, .. } if unroll => {
                        let body = std::mem::take(body);
                        ops.splice(at..=at, body);
                        true
                    }
                    Op::If { then, other, .. } if unroll => {
                        let mut body = std::mem::take(then);
                        body.append(other);
                        ops.splice(at..=at, body);
                        true
                    }
                    Op::Loop { count, .. } if !unroll && *count > 1 => {
                        *count /= 2;
                        true
                    }
                    _ => false,
                };
            }
            for body in ops[at].bodies_mut() {
                if change(body, next, which, unroll) {
                    return true;
                }
            }
        }
        false
    }
    let (mut simpler, mut next) = (program.clone(), 0);
    simpler.functions.iter_mut().any(|f| change(&mut f.body, &mut next, which, unroll)).then_some(simpler)
}

/// Drops pieces, loops and passes of `program` as long as `keeps` says that what is left is as interesting.
pub fn shrink(program: &Program, keeps: &mut dyn FnMut(&Program) -> bool) -> Program {
    let mut best = program.clone();
    loop {
        let before = pieces(&best);
        let mut size = before.div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < pieces(&best) {
                let smaller = without(&best, &(at..at + size));
                if pieces(&smaller) < pieces(&best) && keeps(&smaller) {
                    best = smaller;
                } else {
                    at += size;
                }
            }
            if size == 1 {
                break;
            }
            size /= 2;
        }
        let mut changed = false;
        for unroll in [true, false] {
            let mut which = 0;
            while which < pieces(&best) {
                match simpler(&best, which, unroll) {
                    Some(other) if keeps(&other) => {
                        best = other;
                        changed = true;
                    }
                    _ => which += 1,
                }
            }
        }
        if !changed && pieces(&best) == before {
            return best;
        }
    }
}
