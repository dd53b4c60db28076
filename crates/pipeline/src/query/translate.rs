//! From the SQL's syntax tree to DataFusion's expressions, node by node, with Spark's meaning.
//!
//! Every node is type-checked as it is built, so errors are reported with their position. Anything not handled here
//! is refused.

use datafusion_common::ScalarValue;
use datafusion_expr::expr::InList;
use datafusion_expr::{Case, Expr, Like, Operator, binary_expr};
use sqlparser::ast::{
    self, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, TrimWhereField, UnaryOperator, ValueWithSpan,
};
use sqlparser::tokenizer::Span;
use turnstile_values::suggest;

use super::common_type::{common, comparable, unified};
use super::translator::{Clause, Operand, Translator, column, lit_scalar};
use super::{WINDOW_END, WINDOW_START, call, cast, literal, operator};
use crate::file::Fault;

impl Translator<'_> {
    /// Translates, checks and coerces one expression.
    pub(crate) fn translate(&mut self, expr: &ast::Expr) -> Result<Operand, Fault> {
        let span = self.span_of(expr);
        let around = std::mem::replace(&mut self.place, span);
        let built = self.build(expr, span);
        self.place = around;
        self.coerced(built?, span)
    }

    fn build(&mut self, expr: &ast::Expr, span: Span) -> Result<Expr, Fault> {
        Ok(match expr {
            ast::Expr::Nested(inner) => self.translate(inner)?.expr,
            ast::Expr::Identifier(ident) => self.column(&ident.value, span)?,
            ast::Expr::CompoundIdentifier(parts) => self.qualified(parts, span)?,
            ast::Expr::Value(value) => self.value(value)?,
            ast::Expr::TypedString(typed) => cast::typed_string(self, typed, span)?,
            ast::Expr::Interval(interval) => literal::interval(self, interval, span)?,
            ast::Expr::BinaryOp { left, op, right } => self.binary(left, op, right, span)?,
            ast::Expr::UnaryOp { op, expr } => self.unary(*op, expr, span)?,
            ast::Expr::IsNull(inner) => self.translate(inner)?.expr.is_null(),
            ast::Expr::IsNotNull(inner) => self.translate(inner)?.expr.is_not_null(),
            ast::Expr::IsTrue(inner) => {
                let inner = self.translate(inner)?;
                self.condition(inner)?.is_true()
            }
            ast::Expr::IsNotTrue(inner) => {
                let inner = self.translate(inner)?;
                self.condition(inner)?.is_not_true()
            }
            ast::Expr::IsFalse(inner) => {
                let inner = self.translate(inner)?;
                self.condition(inner)?.is_false()
            }
            ast::Expr::IsNotFalse(inner) => {
                let inner = self.translate(inner)?;
                self.condition(inner)?.is_not_false()
            }
            ast::Expr::IsDistinctFrom(left, right) => self.compare(left, Operator::IsDistinctFrom, right)?,
            ast::Expr::IsNotDistinctFrom(left, right) => self.compare(left, Operator::IsNotDistinctFrom, right)?,
            ast::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated)?,
            ast::Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high)?,
            ast::Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, *negated, false, escape_char.as_ref())?
            }
            ast::Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, *negated, true, escape_char.as_ref())?
            }
            ast::Expr::RLike { negated, expr, pattern, .. } => {
                let args = [self.translate(expr)?, self.translate(pattern)?];
                let matched = call::scalar(self, "regexp_like", span, args.to_vec())?;
                if *negated { Expr::Not(Box::new(matched)) } else { matched }
            }
            ast::Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())?
            }
            ast::Expr::Cast { kind, expr, data_type, array: false, format: None } => {
                let operand = self.translate(expr)?;
                let safe = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
                let target = cast::target(self, data_type, span)?;
                cast::cast(self, operand, &target, safe)?
            }
            ast::Expr::Extract { field, expr, .. } => {
                let field = field.to_string().to_ascii_lowercase();
                let name = match field.as_str() {
                    "week" | "weeks" | "w" => "weekofyear",
                    "doy" => "dayofyear",
                    other => other,
                };
                self.scalar(name, &[expr], span)?
            }
            ast::Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                self.scalar("ceil", &[expr], span)?
            }
            ast::Expr::Floor { expr, field: CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                self.scalar("floor", &[expr], span)?
            }
            ast::Expr::Position { expr, r#in } => self.scalar("position", &[expr, r#in], span)?,
            ast::Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => match substring_for {
                Some(length) => self.scalar("substring", &[expr, from, length], span)?,
                None => self.scalar("substring", &[expr, from], span)?,
            },
            ast::Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim_of",
                    Some(TrimWhereField::Trailing) => "rtrim_of",
                };
                match trim_what {
                    Some(what) => self.scalar(name, &[expr, what], span)?,
                    None => self.scalar(name, &[expr], span)?,
                }
            }
            ast::Expr::Function(function) => call::function(self, function)?,
            ast::Expr::Wildcard(_) | ast::Expr::QualifiedWildcard(..) => {
                return Err(self.fault(span, "* is not supported here").hint("list the columns"));
            }
            other => {
                let written = other.to_string();
                return Err(self.fault(span, format!("\"{written}\" is not supported")).hint("see docs/sql.md"));
            }
        })
    }

    fn scalar(&mut self, name: &str, args: &[&ast::Expr], span: Span) -> Result<Expr, Fault> {
        let args = args.iter().map(|arg| self.translate(arg)).collect::<Result<Vec<_>, _>>()?;
        call::scalar(self, name, span, args)
    }

    fn value(&self, value: &ValueWithSpan) -> Result<Expr, Fault> {
        literal::value(&value.value)
            .map(|scalar| Expr::Literal(scalar, None))
            .map_err(|message| self.fault(value.span, message))
    }

    fn qualified(&mut self, parts: &[ast::Ident], span: Span) -> Result<Expr, Fault> {
        let [first, second] = parts else {
            let written: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
            return Err(self.fault(span, format!("unknown column \"{}\"", written.join("."))));
        };
        if first.value.eq_ignore_ascii_case("window") {
            return self.window_bound(&second.value, span);
        }
        if first.value.eq_ignore_ascii_case(self.qualifier) {
            return self.column(&second.value, second.span);
        }
        let message = format!("unknown table \"{}\"", first.value);
        Err(self.fault(first.span, message).hint(suggest(&first.value, [self.qualifier, "window"])))
    }

    fn window_bound(&self, part: &str, span: Span) -> Result<Expr, Fault> {
        if !self.clause.sees_groups() {
            let message = format!("window.{part} cannot be used in {}", self.clause.name());
            return Err(self.fault(span, message).hint("the window is known once rows are grouped"));
        }
        match part.to_ascii_lowercase().as_str() {
            "start" => Ok(column(WINDOW_START)),
            "end" => Ok(column(WINDOW_END)),
            _ => Err(self.fault(span, format!("a window has no \"{part}\"")).hint("it has start and end")),
        }
    }

    fn column(&mut self, name: &str, span: Span) -> Result<Expr, Fault> {
        let field = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .find(|field| field.eq_ignore_ascii_case(name) && !field.starts_with("__"));
        if self.clause == Clause::Having {
            // As in Spark: a grouped column first, then the names of the SELECT list.
            let grouped = field.is_some_and(|field| self.grouped.iter().any(|grouped| grouped == field));
            if !grouped && let Some((_, expr)) = self.aliases.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name))
            {
                return Ok(expr.clone());
            }
        }
        match field {
            Some(field) => {
                let expr = column(field);
                if self.clause != Clause::Argument {
                    self.uses.push((field.to_owned(), span));
                }
                Ok(expr)
            }
            None if name.eq_ignore_ascii_case("window") => {
                let fault = self.fault(span, "the window as a whole cannot be used: a file's column holds one value");
                Err(fault.hint("write window.start and window.end"))
            }
            None => {
                let fields = self.schema.fields().iter().map(|field| field.name().as_str());
                let known: Vec<&str> = fields.filter(|field| !field.starts_with("__")).collect();
                Err(self.fault(span, format!("unknown column \"{name}\"")).hint(suggest(name, known)))
            }
        }
    }

    fn unary(&mut self, op: UnaryOperator, expr: &ast::Expr, span: Span) -> Result<Expr, Fault> {
        // A minus belongs to the number: the smallest bigint has no positive counterpart.
        if op == UnaryOperator::Minus
            && let ast::Expr::Value(ValueWithSpan { value: ast::Value::Number(digits, _), .. }) = expr
        {
            return literal::number(&format!("-{digits}")).map(lit_scalar).map_err(|message| self.fault(span, message));
        }
        let operand = self.translate(expr)?;
        match op {
            UnaryOperator::Minus => operator::negate(self, operand),
            UnaryOperator::Plus => Ok(operand.expr),
            UnaryOperator::Not | UnaryOperator::BangNot => Ok(Expr::Not(Box::new(self.condition(operand)?))),
            other => Err(self.fault(span, format!("the operator {other} is not supported"))),
        }
    }

    fn binary(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr, span: Span) -> Result<Expr, Fault> {
        let (left, right) = (self.translate(left)?, self.translate(right)?);
        operator::binary(self, left, op, right, span)
    }

    fn compare(&mut self, left: &ast::Expr, op: Operator, right: &ast::Expr) -> Result<Expr, Fault> {
        let (left, right) = (self.translate(left)?, self.translate(right)?);
        operator::compare(self, left, op, right)
    }

    fn in_list(&mut self, expr: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Expr, Fault> {
        let tested = self.translate(expr)?;
        let items = list.iter().map(|item| self.translate(item)).collect::<Result<Vec<_>, _>>()?;
        let common = common(self, [&tested].into_iter().chain(&items))?;
        let tested = comparable(self, tested, &common)?;
        let items = items.into_iter().map(|item| comparable(self, item, &common)).collect::<Result<Vec<_>, _>>()?;
        if items.iter().all(|item| item.column_refs().is_empty()) {
            return Ok(Expr::InList(InList::new(Box::new(tested), items, negated)));
        }
        // DataFusion takes a list for constant when its items evaluate to scalars on a batch without rows, as CASE does.
        let equal = |item| binary_expr(tested.clone(), Operator::Eq, item);
        let any = items.into_iter().map(equal).reduce(|any, one| binary_expr(any, Operator::Or, one));
        let any = any.unwrap_or_else(|| lit_scalar(ScalarValue::Boolean(Some(false))));
        Ok(if negated { Expr::Not(Box::new(any)) } else { any })
    }

    /// `low <= expr AND expr <= high`, each with the type that the two have in common, as in Spark.
    fn between(&mut self, expr: &ast::Expr, negated: bool, low: &ast::Expr, high: &ast::Expr) -> Result<Expr, Fault> {
        let operand = self.translate(expr)?;
        let (low, high) = (self.translate(low)?, self.translate(high)?);
        let above = operator::compare(self, operand.clone(), Operator::GtEq, low)?;
        let below = operator::compare(self, operand, Operator::LtEq, high)?;
        let within = binary_expr(above, Operator::And, below);
        Ok(if negated { Expr::Not(Box::new(within)) } else { within })
    }

    fn like(
        &mut self,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        negated: bool,
        ignore_case: bool,
        escape: Option<&ValueWithSpan>,
    ) -> Result<Expr, Fault> {
        if let Some(escape) = escape {
            return Err(self.fault(escape.span, "ESCAPE is not supported").hint("the escape is the backslash"));
        }
        let (expr, pattern) = (self.translate(expr)?, self.translate(pattern)?);
        let (expr, pattern) = (cast::to_text(self, expr)?, cast::to_text(self, pattern)?);
        Ok(Expr::Like(Like::new(negated, Box::new(expr), Box::new(pattern), None, ignore_case)))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Expr, Fault> {
        // `CASE x WHEN a` is `CASE WHEN x = a`, so that comparisons mean the same in both forms.
        let operand = operand.map(|operand| self.translate(operand)).transpose()?;
        let (mut whens, mut results) = (Vec::with_capacity(conditions.len()), Vec::with_capacity(conditions.len() + 1));
        for CaseWhen { condition, result } in conditions {
            let condition = self.translate(condition)?;
            let condition = match &operand {
                Some(operand) => operator::compare(self, operand.clone(), Operator::Eq, condition)?,
                None => self.condition(condition)?,
            };
            whens.push(Box::new(condition));
            results.push(self.translate(result)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.translate(otherwise)?);
        }
        let mut results = unified(self, results)?.into_iter().map(Box::new);
        let branches = whens.into_iter().zip(results.by_ref()).collect();
        Ok(Expr::Case(Case::new(None, branches, results.next())))
    }
}
