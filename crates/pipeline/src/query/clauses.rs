//! Reads each clause of the query into expressions over rows: keys, the window, the SELECT list, conditions.

use std::collections::BTreeSet;

use datafusion_expr::Expr;
use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::{Span, Token};

use super::syntax::{Item, Shape};
use super::text::SqlText;
use super::translator::{Clause, Operand, Translator};
use super::{WindowSpec, spark_type, window};
use crate::file::Fault;

/// An item of the SELECT list over rows and aggregates.
pub(super) struct OutputColumn {
    pub(super) name: String,
    pub(super) aliased: bool,
    pub(super) expr: Expr,
    pub(super) span: Span,
}

pub(super) fn condition(translator: &mut Translator<'_>, expr: &ast::Expr) -> Result<Operand, Fault> {
    let operand = translator.translate(expr)?;
    let span = operand.span;
    Ok(Operand { expr: translator.condition(operand)?, span })
}

pub(super) fn only_window(text: &SqlText, shape: &Shape, event_time: &str) -> Result<WindowSpec, Fault> {
    let mut calls = shape.groups.iter().filter_map(window::call);
    let form = format!("add GROUP BY window({event_time}, '5 minutes')");
    let Some(first) = calls.next() else {
        let place = match shape.groups.first() {
            Some(group) => group.span(),
            None => shape.items.first().map_or(Span::empty(), |item| item.span),
        };
        let message = "the query does not group by a window, so a stream would never finish a row of it";
        return Err(text.fault(place, message).hint(form));
    };
    if let Some(second) = calls.next() {
        return Err(text.fault(second.name.span(), "the query groups by two windows").hint("write a second pipeline"));
    }
    window::read(text, first, event_time, &shape.qualifier)
}

pub(super) fn read_keys(translator: &mut Translator<'_>, shape: &Shape, faults: &mut Vec<Fault>) -> Vec<Expr> {
    translator.clause = Clause::GroupBy;
    let mut keys: Vec<Expr> = Vec::new();
    for group in shape.groups.iter().filter(|group| window::call(group).is_none()) {
        let uses = translator.uses.len();
        let key = named_item(translator, shape, group).and_then(|expr| translator.translate(expr)).and_then(|key| {
            let data_type = translator.type_of(&key)?;
            match spark_type(&data_type) {
                Some(_) => Ok(key.expr),
                None => Err(translator.fault(key.span, format!("rows cannot be grouped by {data_type}"))),
            }
        });
        // A use in GROUP BY is never a stray one.
        translator.uses.truncate(uses);
        match keep(key, faults) {
            Some(key) if !keys.contains(&key) => keys.push(key),
            _ => {}
        }
    }
    keys
}

/// As in Spark, GROUP BY may name an item of the SELECT list by its number, or by its name where no column has it.
fn named_item<'a>(translator: &Translator<'_>, shape: &'a Shape, group: &'a ast::Expr) -> Result<&'a ast::Expr, Fault> {
    match group {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), span }) => {
            let item = digits.parse::<usize>().ok().and_then(|n| shape.items.get(n.checked_sub(1)?));
            let wrong = || translator.fault(*span, format!("the SELECT list has no item {digits}"));
            item.map(|item| &item.expr).ok_or_else(wrong)
        }
        ast::Expr::Identifier(ident) => {
            let same = |name: &str| name.eq_ignore_ascii_case(&ident.value);
            let is_field = translator.schema.fields().iter().any(|field| same(field.name()));
            let item = shape.items.iter().find(|item| item.aliased && same(&item.name));
            Ok(item.filter(|_| !is_field).map_or(group, |item| &item.expr))
        }
        _ => Ok(group),
    }
}

pub(super) fn read_items(
    translator: &mut Translator<'_>,
    items: &[Item],
    faults: &mut Vec<Fault>,
) -> Vec<OutputColumn> {
    translator.clause = Clause::Select;
    let mut seen = BTreeSet::new();
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        if !seen.insert(item.name.to_lowercase()) {
            let fault = translator.fault(item.span, format!("the result has two columns called \"{}\"", item.name));
            faults.push(fault.hint("name one of them with AS; SQL ignores the letter case of names"));
        }
        if let Some(operand) = keep(translator.translate(&item.expr), faults) {
            let Operand { expr, span } = operand;
            out.push(OutputColumn { name: item.name.clone(), aliased: item.aliased, expr, span });
        }
    }
    out
}

/// A correction computes a window again from its rows; a register needs the readings before them too.
pub(super) fn refuse_correction(text: &SqlText, faults: &mut Vec<Fault>) {
    for token in &text.tokens {
        let Token::Word(word) = &token.token else { continue };
        let name = word.value.to_ascii_lowercase();
        if ["increase", "resets", "jumps"].contains(&name.as_str()) {
            let message = format!(
                "{name} cannot be used with late = \"correct\": a late reading changes the steps of the windows after it"
            );
            faults.push(text.fault(token.span, message).hint("use late = \"dead-letter\" and a longer watermark"));
            return;
        }
        if name == "having" {
            let message = "HAVING cannot be used with late = \"correct\": a correction that leaves no row would leave the old file";
            faults.push(
                text.fault(token.span, message).hint("filter where the files are read, or use late = \"dead-letter\""),
            );
            return;
        }
    }
}

/// The value; a fault is noted beside the others.
pub(super) fn keep<T>(result: Result<T, Fault>, faults: &mut Vec<Fault>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}
