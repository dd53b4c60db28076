//! Expressions at random: forms within forms.

use crate::Case;
use crate::forms::{Allowed, Form, SCALARS, columns, filled};

/// How deep forms are nested.
const DEPTH: u32 = 3;

/// `count` expressions; the same for the same seed.
pub(crate) fn cases(seed: u64, count: usize) -> Vec<Case> {
    let mut generator = Generator { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 };
    let kinds = ['s', 'i', 'l', 'd', 'b', 't', 'a'];
    (0..count)
        .map(|at| Case { sql: generator.expression(kinds[at % kinds.len()], DEPTH), allowed: Allowed::Errors })
        .collect()
}

struct Generator {
    state: u64,
}

impl Generator {
    /// Marsaglia's xorshift64*.
    fn next(&mut self, below: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    fn expression(&mut self, kind: char, depth: u32) -> String {
        if depth == 0 || kind == 'k' || self.next(5) == 0 {
            let columns = columns(kind);
            return columns[self.next(columns.len())].to_owned();
        }
        let fitting: Vec<&Form> = SCALARS
            .iter()
            .filter(|form| matches!(form.allowed, Allowed::Nothing | Allowed::ErrorForNull))
            .filter(|form| match form.gives {
                'x' => true,
                // No place takes decimals.
                'n' => form.sql.contains("{n}") && !form.sql.contains("decimal") && "ild".contains(kind),
                gives => gives == kind,
            })
            .collect();
        let form = fitting[self.next(fitting.len())];
        let any = match form.gives {
            'x' | 'n' => kind,
            _ if form.sql.contains("{n}") => ['i', 'l', 'd'][self.next(3)],
            _ => ['s', 'i', 'l', 'd', 'b', 't', 'a'][self.next(7)],
        };
        let filled = filled(form.sql, |place| {
            let place = if matches!(place, 'x' | 'n') { any } else { place };
            self.expression(place, depth - 1)
        });
        format!("({filled})")
    }
}
