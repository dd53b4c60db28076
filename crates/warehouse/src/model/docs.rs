//! What the models are, for people: one page of Markdown.

use std::fmt::Write as _;

use super::{Model, Models};

/// A page that lists every model with its columns, checks and what it reads.
pub fn describe(models: &Models, external: &str) -> String {
    let mut page = String::from("# Models\n\n");
    let _ = writeln!(page, "Tables that are made of `{external}`, each after those that it reads.\n");
    page.push_str("| model | kind | key | reads |\n|---|---|---|---|\n");
    for model in models.iter() {
        let (key, reads) = (model.key.join(", "), model.reads.join(", "));
        let _ = writeln!(page, "| [{0}](#{0}) | {1} | {key} | {reads} |", model.name, model.kind.word());
    }
    models.iter().for_each(|model| one(&mut page, model));
    page
}

fn one(page: &mut String, model: &Model) {
    let _ = writeln!(page, "\n## {}\n\n{}\n\nFile: `{}`.", model.name, model.description, model.path);
    if let Some(window) = &model.window {
        let _ = writeln!(page, "A row belongs to the window that begins at `{window}`.");
    }
    if !model.columns.is_empty() {
        page.push_str("\n| column | what |\n|---|---|\n");
        for column in &model.columns {
            let _ = writeln!(page, "| `{}` | {} |", column.name, column.text);
        }
    }
    if !model.checks.is_empty() {
        page.push_str("\nChecked after each load:\n\n");
        for check in &model.checks {
            let _ = writeln!(page, "- `{}`", check.text());
        }
    }
}
