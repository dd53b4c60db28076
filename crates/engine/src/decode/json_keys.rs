//! Which members of a JSON object lead to which columns.

use hashbrown::HashMap;

use super::field_target::FieldTarget;

/// The members of one object, by name.
#[derive(Debug, Default)]
pub(crate) struct JsonKeys {
    members: HashMap<String, JsonMember>,
}

/// What a member is.
#[derive(Debug)]
pub(crate) enum JsonMember {
    /// The value of a field.
    Field(FieldTarget),
    /// An object that holds values of fields, and which of all such objects it is.
    Object(usize, JsonKeys),
}

impl JsonKeys {
    /// Adds the field at the end of `path`, which has at least one name. No path leads through another's end. `objects` counts
    /// the inner objects.
    pub(crate) fn insert(&mut self, path: &[String], target: FieldTarget, objects: &mut usize) {
        let Some((name, inner)) = path.split_first() else { return };
        if inner.is_empty() {
            self.members.insert(name.clone(), JsonMember::Field(target));
            return;
        }
        let member = self.members.entry(name.clone()).or_insert_with(|| {
            *objects += 1;
            JsonMember::Object(*objects - 1, Self::default())
        });
        if let JsonMember::Object(_, keys) = member {
            keys.insert(inner, target, objects);
        }
    }

    /// What the member called `name` is; `None`: the schema does not know it.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&JsonMember> {
        self.members.get(name)
    }
}
