//! Growth of cumulative registers: `increase`, `resets`, `jumps`.
//!
//! A register's growth in a window is the sum, over the window's readings in event time, of reading minus
//! previous reading of the same group keys. The previous one may lie before the window: [`Carry`] keeps it.
//! The very first reading of a group adds 0. A difference below 0 (a reset) or above the cap (a jump) adds 0.
//! Readings with the same instant are in source order (partition, offset).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::row::{RowConverter, SortField};
use hashbrown::{HashMap, HashSet};

use crate::aggregates::AggregateSlot;
use crate::error::EngineError;
use crate::stream_plan::StreamPlan;

/// Register readings of one window, in arrival order. One value per register; `None`: no reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RegisterReadings {
    pub(crate) groups: Vec<u32>,
    pub(crate) event_us: Vec<i64>,
    pub(crate) orders: Vec<i64>,
    /// Per register, one value per reading.
    pub(crate) values: Vec<Vec<Option<i64>>>,
}

impl RegisterReadings {
    pub(crate) fn new(registers: usize) -> Self {
        Self { values: vec![Vec::new(); registers], ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.groups.capacity() * (4 + 8 + 8) + self.values.iter().map(|v| v.capacity() * 16).sum::<usize>()
    }

    pub(crate) fn push(&mut self, group: u32, event_us: i64, order: i64, values: impl Iterator<Item = Option<i64>>) {
        self.groups.push(group);
        self.event_us.push(event_us);
        self.orders.push(order);
        for (column, value) in self.values.iter_mut().zip(values) {
            column.push(value);
        }
    }

    /// Appends `other`, whose group `g` is group `ids[g]` here.
    pub(crate) fn append(&mut self, other: &Self, ids: &[usize]) {
        self.groups.extend(other.groups.iter().map(|g| ids[*g as usize] as u32));
        self.event_us.extend_from_slice(&other.event_us);
        self.orders.extend_from_slice(&other.orders);
        for (column, values) in self.values.iter_mut().zip(&other.values) {
            column.extend_from_slice(values);
        }
    }

    /// The readings of the groups that have a `number`, with that number.
    pub(crate) fn of_groups(&self, number: impl Fn(u32) -> Option<u32>) -> Self {
        let mut some = Self::new(self.values.len());
        for (at, group) in self.groups.iter().enumerate() {
            if let Some(group) = number(*group) {
                some.push(group, self.event_us[at], self.orders[at], self.values.iter().map(|column| column[at]));
            }
        }
        some
    }

    /// The column of every register slot of the plan, one value per group, of the window that begins at `start_us`; and the
    /// readings that later windows build on.
    pub(crate) fn growth(
        &self,
        plan: &StreamPlan,
        keys: &[ArrayRef],
        groups: usize,
        start_us: i64,
        carry: &Carry,
    ) -> Result<(Vec<Option<ArrayRef>>, Vec<CarriedReading>), EngineError> {
        let carry_until_us = start_us + plan.window.slide_us;
        let mut carried = Vec::new();
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        let place = |i: usize| (self.groups[i], self.event_us[i], self.orders[i]);
        // Two topics may share a source order: what was read decides then, so that the order never depends on arrival.
        let values = |i: usize| self.values.iter().map(move |values| values[i]);
        order.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            place(a).cmp(&place(b)).then_with(|| values(a).cmp(values(b)))
        });
        let rows = carry.rows(keys, groups)?;
        let mut sums = vec![vec![0i64; groups]; plan.slots.len()];
        for (register, values) in self.values.iter().enumerate() {
            let mut at = 0;
            while at < order.len() {
                let group = self.groups[order[at] as usize];
                let until = at + order[at..].partition_point(|i| self.groups[*i as usize] == group);
                let mut previous = carry.before(&rows[group as usize], register, start_us);
                let mut last = None;
                for reading in &order[at..until] {
                    let reading = *reading as usize;
                    let Some(value) = values[reading] else { continue };
                    if let Some(before) = previous {
                        for (slot, sums) in plan.slots.iter().zip(&mut sums) {
                            let sum = &mut sums[group as usize];
                            *sum = sum.checked_add(step(slot, register, before, value)).ok_or(EngineError::Overflow)?;
                        }
                    }
                    previous = Some(value);
                    if self.event_us[reading] < carry_until_us {
                        last = Some(RegisterReading {
                            event_us: self.event_us[reading],
                            order: self.orders[reading],
                            value,
                        });
                    }
                }
                if let Some(reading) = last {
                    carried.push(CarriedReading { group: rows[group as usize].clone(), register, reading });
                }
                at = until;
            }
        }
        let column = |(slot, sums): (&AggregateSlot, Vec<i64>)| match slot {
            AggregateSlot::Function(_) => None,
            _ => Some(Arc::new(Int64Array::from(sums)) as ArrayRef),
        };
        Ok((plan.slots.iter().zip(sums).map(column).collect(), carried))
    }
}

/// What one step of register `register` from `before` to `value` adds to `slot`.
fn step(slot: &AggregateSlot, register: usize, before: i64, value: i64) -> i64 {
    // A step outside the 64-bit range exceeds every cap: it counts as a jump or reset.
    let delta = value.checked_sub(before);
    let reset = value < before;
    match *slot {
        AggregateSlot::Increase { register: of, cap } if of == register => match delta {
            Some(delta) if !reset && cap.is_none_or(|cap| delta <= cap) => delta,
            _ => 0,
        },
        AggregateSlot::Resets { register: of } if of == register => i64::from(reset),
        AggregateSlot::Jumps { register: of, cap } if of == register => {
            i64::from(!reset && delta.is_none_or(|delta| delta > cap))
        }
        _ => 0,
    }
}

/// One reading that a later window builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RegisterReading {
    pub(crate) event_us: i64,
    pub(crate) order: i64,
    pub(crate) value: i64,
}

impl RegisterReading {
    /// Where it stands among the readings of its group.
    fn place(self) -> (i64, i64) {
        (self.event_us, self.order)
    }
}

/// A reading of a closed window that may be the last one of its group.
pub(crate) struct CarriedReading {
    group: GroupKey,
    register: usize,
    reading: RegisterReading,
}

/// Key columns and, per group, the last reading of each register.
pub(crate) type CarryColumns = (Vec<ArrayRef>, Vec<LastReadings>);

/// The last reading of each register of one group.
pub(crate) type LastReadings = Vec<Option<RegisterReading>>;

/// The last reading of every group before the windows that are still open.
#[derive(Debug)]
pub(crate) struct Carry {
    converter: RowConverter,
    last: HashMap<GroupKey, LastReadings>,
    registers: usize,
    changed: HashSet<GroupKey>,
}

/// A group's keys in Arrow's row format; empty when the query groups by the window alone.
type GroupKey = Box<[u8]>;

impl Carry {
    pub(crate) fn new(plan: &StreamPlan) -> Result<Self, EngineError> {
        let fields = plan.key_schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        Ok(Self {
            converter: RowConverter::new(fields)?,
            last: HashMap::new(),
            registers: plan.registers.len(),
            changed: HashSet::new(),
        })
    }

    fn rows(&self, keys: &[ArrayRef], groups: usize) -> Result<Vec<GroupKey>, EngineError> {
        if keys.is_empty() {
            return Ok(vec![GroupKey::default(); groups]);
        }
        let rows = self.converter.convert_columns(keys)?;
        Ok(rows.iter().map(|row| row.data().into()).collect())
    }

    /// The last reading of `group` before `start_us`. Windows close in order, so what is kept lies before
    /// the window unless a hopping window's neighbour put it there.
    fn before(&self, group: &GroupKey, register: usize, start_us: i64) -> Option<i64> {
        self.last.get(group)?[register].filter(|r| r.event_us < start_us).map(|r| r.value)
    }

    /// Takes the readings of a window that has closed.
    pub(crate) fn put(&mut self, readings: Vec<CarriedReading>) {
        readings.into_iter().for_each(|reading| self.put_one(reading));
    }

    fn put_one(&mut self, CarriedReading { group, register, reading }: CarriedReading) {
        let registers = self.registers;
        let last = self.last.entry(group.clone()).or_insert_with(|| vec![None; registers]);
        if last[register].is_none_or(|before| before.place() < reading.place()) {
            last[register] = Some(reading);
            self.changed.insert(group);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.last.len() * (64 + 32 * self.registers)
    }

    /// What changed since the last call (or everything), as keys and readings a group.
    pub(crate) fn take_changed(&mut self, all: bool) -> Result<CarryColumns, EngineError> {
        let changed = std::mem::take(&mut self.changed);
        let groups: Vec<&GroupKey> = if all { self.last.keys().collect() } else { changed.iter().collect() };
        let readings = groups.iter().map(|g| self.last[*g].clone()).collect();
        if groups.first().is_none_or(|g| g.is_empty()) {
            return Ok((Vec::new(), readings));
        }
        let parser = self.converter.parser();
        let keys = self.converter.convert_rows(groups.iter().map(|g| parser.parse(g)))?;
        Ok((keys, readings))
    }

    /// Restores what [`Carry::take_changed`] returned. The latest reading wins, in whichever order they are restored.
    pub(crate) fn restore(
        &mut self,
        batch: &RecordBatch,
        keys: usize,
        readings: Vec<LastReadings>,
    ) -> Result<(), EngineError> {
        let groups = self.rows(&batch.columns()[..keys], batch.num_rows())?;
        for (group, readings) in groups.into_iter().zip(readings) {
            let last = self.last.entry(group).or_insert_with(|| vec![None; readings.len()]);
            for (last, reading) in last.iter_mut().zip(readings) {
                if reading.map(RegisterReading::place) > last.map(RegisterReading::place) {
                    *last = reading;
                }
            }
        }
        Ok(())
    }
}
