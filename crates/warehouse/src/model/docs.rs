//! Documentation of the models: one page of Markdown.

use std::fmt::Write as _;

use super::definition::Model;

/// A page that lists every model with its columns, checks and what it reads.
pub(super) fn describe(models: &[Model], external: &str) -> String {
    let mut page = String::from("# Models\n\n");
    let _ = writeln!(page, "Tables computed from `{external}`, each after those that it reads.\n");
    page.push_str("| model | kind | key | reads |\n|---|---|---|---|\n");
    for model in models {
        let (key, reads) = (model.key.join(", "), model.reads.join(", "));
        let _ = writeln!(page, "| [{0}](#{0}) | {1} | {key} | {reads} |", model.name, model.kind.word());
    }
    models.iter().for_each(|model| describe_model(&mut page, model));
    page
}

fn describe_model(page: &mut String, model: &Model) {
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
