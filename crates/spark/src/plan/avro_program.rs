//! How messages of one Avro schema are read: a list of steps, each of which ends where the next one begins.
//!
//! Nothing else decides what a message is: the steps follow the embedded engine's reader value by value.
//! Source: <https://avro.apache.org/docs/1.12.0/specification/#binary-encoding>.

use std::ops::Range;

use turnstile_message::{AvroSchema, AvroShape, AvroType, AvroTypeId, LogicalType, WriterSchema};
use turnstile_pipeline::{Field, FieldPolicy, Pipeline};

/// Most steps before the fields that the query does not need are taken together.
const MANY_STEPS: usize = 24;

/// Why there is no program.
pub(super) enum AvroProgramError {
    /// Messages of the schema cannot be rows: why.
    NoRecord(String),
    /// It has this field, which the pipeline does not know.
    ExtraField(String),
}

/// What a step reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Leaf {
    /// No bytes.
    Nothing,
    /// So many bytes.
    Bytes(usize),
    /// A byte, 0 or 1.
    Boolean,
    /// A number of 64 bits.
    Long,
    /// A number of 32 bits.
    Int,
    /// The number of one of so many symbols.
    Symbol(usize),
    /// A length, and so many bytes.
    Text,
    /// The number of one of so many types.
    Branch(usize),
    /// A value that no field takes.
    Misplaced,
    /// Nothing sound.
    Malformed,
    /// Values of these types, one after another.
    Skipped(Vec<AvroTypeId>),
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Read(Leaf),
    /// What the number that the step before has read stands for.
    Choose(Vec<Leaf>),
}

impl Step {
    /// What it may read.
    pub(super) fn leaves(&self) -> &[Leaf] {
        match self {
            Self::Read(leaf) => std::slice::from_ref(leaf),
            Self::Choose(leaves) => leaves,
        }
    }
}

/// Where a field of the schema is read.
#[derive(Debug)]
pub(super) struct ProgramField {
    /// Its name; several fields that are read together have none.
    pub(super) name: Option<String>,
    pub(super) steps: Range<usize>,
    /// The needed field that it is, and its type.
    pub(super) column: Option<(usize, AvroTypeId)>,
}

/// The steps through a record.
#[derive(Debug)]
pub(super) struct AvroProgram {
    pub(super) schema: AvroSchema,
    pub(super) steps: Vec<Step>,
    pub(super) fields: Vec<ProgramField>,
}

impl AvroProgram {
    /// Translates `schema`.
    ///
    /// # Errors
    /// Why messages of it are no rows,
    pub(super) fn of(schema: &WriterSchema, pipeline: &Pipeline, needed: &[&Field]) -> Result<Self, AvroProgramError> {
        let schema = AvroSchema::parse(schema)
            .map_err(|error| AvroProgramError::NoRecord(format!("the schema cannot be read: {error}")))?;
        let root = schema.get(schema.root());
        let AvroShape::Record(writer) = root.shape.clone() else {
            let found = root.name();
            return Err(AvroProgramError::NoRecord(format!("expected the schema of a record, found that of {found}")));
        };
        let of_value = |field: &&Field| field.metadata.is_none();
        let known = |name: &str| pipeline.source.schema.iter().filter(of_value).any(|field| field.name == name);
        if pipeline.source.extra_fields == FieldPolicy::Error
            && let Some((name, _)) = writer.iter().find(|(name, _)| !known(name))
        {
            return Err(AvroProgramError::ExtraField(name.clone()));
        }
        let column_of = |name: &str| needed.iter().position(|field| field.metadata.is_none() && field.name == name);
        let mut program = Self { schema, steps: Vec::new(), fields: Vec::new() };
        for (name, kind) in writer {
            let column = column_of(&name).map(|column| (column, kind));
            let first = program.steps.len();
            match column {
                Some(_) => program.push_needed(kind),
                None => program.push_skipped(kind),
            }
            program.fields.push(ProgramField { name: Some(name), steps: first..program.steps.len(), column });
        }
        if program.steps.len() > MANY_STEPS {
            program.take_skipped_together();
        }
        Ok(program)
    }

    /// The branches of a union; of another type, itself.
    pub(super) fn branches(&self, kind: AvroTypeId) -> Vec<&AvroType> {
        match &self.schema.get(kind).shape {
            AvroShape::Union(branches) => branches.iter().map(|branch| self.schema.get(*branch)).collect(),
            _ => vec![self.schema.get(kind)],
        }
    }

    /// The steps through a value that becomes a column.
    fn push_needed(&mut self, kind: AvroTypeId) {
        let leaf = |kind: &AvroType| match (&kind.shape, kind.logical) {
            (AvroShape::Null, _) => Leaf::Nothing,
            (AvroShape::Boolean, _) => Leaf::Boolean,
            (AvroShape::Int, _) => Leaf::Int,
            (AvroShape::Long, _) => Leaf::Long,
            (AvroShape::Float, _) => Leaf::Bytes(4),
            (AvroShape::Double, _) => Leaf::Bytes(8),
            (AvroShape::String, _) | (AvroShape::Bytes, Some(LogicalType::Decimal(_))) => Leaf::Text,
            (AvroShape::Fixed(size), Some(LogicalType::Decimal(_))) => Leaf::Bytes(*size),
            (AvroShape::Enum(symbols), _) => Leaf::Symbol(symbols.len()),
            // Avro forbids it.
            (AvroShape::Union(_), _) => Leaf::Malformed,
            (
                AvroShape::Bytes | AvroShape::Fixed(_) | AvroShape::Array(_) | AvroShape::Map(_) | AvroShape::Record(_),
                _,
            ) => Leaf::Misplaced,
        };
        let leaves: Vec<Leaf> = self.branches(kind).into_iter().map(leaf).collect();
        self.push(kind, leaves);
    }

    /// The steps through a value that the query does not need.
    fn push_skipped(&mut self, kind: AvroTypeId) {
        let leaves = match &self.schema.get(kind).shape {
            AvroShape::Union(branches) => branches.iter().map(|branch| self.skipped(*branch)).collect(),
            _ => vec![self.skipped(kind)],
        };
        self.push(kind, leaves);
    }

    fn push(&mut self, kind: AvroTypeId, mut leaves: Vec<Leaf>) {
        match &self.schema.get(kind).shape {
            AvroShape::Union(branches) => {
                self.steps.push(Step::Read(Leaf::Branch(branches.len())));
                self.steps.push(Step::Choose(leaves));
            }
            _ => self.steps.extend(leaves.pop().map(Step::Read)),
        }
    }

    /// How a value is skipped.
    fn skipped(&self, kind: AvroTypeId) -> Leaf {
        match &self.schema.get(kind).shape {
            AvroShape::Null | AvroShape::Fixed(0) => Leaf::Nothing,
            AvroShape::Boolean => Leaf::Bytes(1),
            AvroShape::Int | AvroShape::Long | AvroShape::Enum(_) => Leaf::Long,
            AvroShape::Float => Leaf::Bytes(4),
            AvroShape::Double => Leaf::Bytes(8),
            AvroShape::Bytes | AvroShape::String => Leaf::Text,
            AvroShape::Fixed(size) => Leaf::Bytes(*size),
            AvroShape::Array(_) | AvroShape::Map(_) | AvroShape::Union(_) | AvroShape::Record(_) => {
                Leaf::Skipped(vec![kind])
            }
        }
    }

    /// Makes one step of fields that follow each other and that the query does not need.
    fn take_skipped_together(&mut self) {
        let AvroShape::Record(writer) = self.schema.get(self.schema.root()).shape.clone() else { return };
        let (steps, fields) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.fields));
        for (field, (_, kind)) in fields.into_iter().zip(writer) {
            match (field.column, self.fields.last_mut(), self.steps.last_mut()) {
                (None, Some(before), Some(Step::Read(Leaf::Skipped(kinds)))) if before.column.is_none() => {
                    before.name = None;
                    kinds.push(kind);
                }
                (None, ..) => {
                    let at = self.steps.len();
                    self.steps.push(Step::Read(Leaf::Skipped(vec![kind])));
                    self.fields.push(ProgramField { steps: at..at + 1, ..field });
                }
                (Some(_), ..) => {
                    let at = self.steps.len();
                    self.steps.extend_from_slice(&steps[field.steps.clone()]);
                    self.fields.push(ProgramField { steps: at..self.steps.len(), ..field });
                }
            }
        }
    }
}
