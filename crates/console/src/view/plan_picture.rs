//! A plan as boxes and arrows, from left to right.

use maud::{Markup, html};

use super::pieces::{empty, scrolling};
use crate::data::{PlanNode, PlanNodeKind, PlanPicture};

const BOX_WIDTH: f64 = 166.0;
const COLUMN: f64 = 200.0;
const LINE: f64 = 16.0;
const HEAD: f64 = 30.0;
const GAP: f64 = 20.0;

/// Lines of a box at most; the rest is in the list below the picture.
const MAX_LINES: usize = 6;

/// Nodes that are drawn; a plan has about ten.
const MAX_NODES: usize = 60;

struct PlacedNode<'a> {
    node: &'a PlanNode,
    x: f64,
    y: f64,
    height: f64,
}

/// The picture, and the same as a list.
pub(crate) fn plan_picture(plan: &PlanPicture) -> Markup {
    if plan.nodes.is_empty() {
        return empty("The plan is not known here.", "It is made from the pipeline file.");
    }
    let (placed, width, height) = place(plan);
    let arrows = plan.edges.iter().filter_map(|edge| Some((placed.get(edge.from)?, placed.get(edge.to)?, &edge.label)));
    html! {
        ({
            scrolling(
                "Plan",
                &html! {
                    svg.plan viewBox = { "0 0 "(width) " "(height) } width = (width)
                    height = (height) role = "img" aria - labelledby = "plan-t plan-d" {
                    title # plan - t { "The plan" } desc # plan - d {
                    "From the source to the lake; the list below says the same." } defs {
                    marker # arrow viewBox = "0 0 8 8" refX = "7" refY = "4" markerWidth
                    = "8" markerHeight = "8" orient = "auto" { path.head d =
                    "M0,0 L8,4 L0,8 z" {} } } @ for (from, to, label) in arrows {
                    (arrow(from, to, label.as_deref())) } @ for node in & placed {
                    (draw(node)) } }
                },
            )
        })
        details id="plan-list" {
            summary { "The plan as a list" }
            ol {
                @for node in &plan.nodes {
                    li {
                        strong { (node.title) }
                        @if !node.details.is_empty() { ": " (node.details.join("; ")) }
                    }
                }
            }
        }
    }
}

/// Each node in the column after the last of those that lead to it.
fn place(plan: &PlanPicture) -> (Vec<PlacedNode<'_>>, f64, f64) {
    let count = plan.nodes.len().min(MAX_NODES);
    let mut columns = vec![0usize; count];
    // One pass per node is enough for any order; an arrow that leads back cannot push further than that.
    for _ in 0..count {
        for edge in plan.edges.iter().filter(|edge| edge.from < count && edge.to < count) {
            columns[edge.to] = columns[edge.to].max(columns[edge.from] + 1).min(count - 1);
        }
    }
    let heights: Vec<_> = plan.nodes[..count].iter().map(height).collect();
    let rejected = heights.iter().copied().fold(0.0, f64::max) + GAP;
    let mut bottoms = vec![4.0; count];
    let placed: Vec<_> = plan.nodes[..count]
        .iter()
        .zip(&columns)
        .map(|(node, column)| {
            let height = height(node);
            let y = if node.kind == PlanNodeKind::Rejected { rejected.max(bottoms[*column]) } else { bottoms[*column] };
            bottoms[*column] = y + height + GAP;
            PlacedNode { node, x: *column as f64 * COLUMN + 4.0, y, height }
        })
        .collect();
    let width = placed.iter().map(|node| node.x + BOX_WIDTH).fold(0.0, f64::max) + 4.0;
    let height = placed.iter().map(|node| node.y + node.height).fold(0.0, f64::max) + 8.0;
    (placed, width, height)
}

fn height(node: &PlanNode) -> f64 {
    HEAD + node.details.len().min(MAX_LINES) as f64 * LINE + 8.0
}

/// From side to side; to where rejected messages go from below, so that the line passes under the boxes between.
fn arrow(from: &PlacedNode<'_>, to: &PlacedNode<'_>, label: Option<&str>) -> Markup {
    let (x2, y2) = (to.x - 2.0, to.y + HEAD / 2.0 + 4.0);
    let (x1, y1, bend) = match to.node.kind == PlanNodeKind::Rejected && to.y > from.y + from.height {
        true => (from.x + BOX_WIDTH / 2.0, from.y + from.height, (from.x + BOX_WIDTH / 2.0, y2)),
        false => {
            let (x1, y1) = (from.x + BOX_WIDTH, from.y + HEAD / 2.0 + 4.0);
            (x1, y1, (f64::midpoint(x1, x2), y1))
        }
    };
    let middle = f64::midpoint(x1, x2);
    html! {
        path.arrow d={ "M" (x1) "," (y1) " C" (bend.0) "," (bend.1) " " (middle) "," (y2) " " (x2) "," (y2) } marker-end="url(#arrow)" {}
        @if let Some(label) = label {
            text.tick.start x=(x1 + 8.0) y=(y1 + 15.0) { (label) }
        }
    }
}

fn draw(placed: &PlacedNode<'_>) -> Markup {
    let kind = match placed.node.kind {
        PlanNodeKind::Source => "source",
        PlanNodeKind::Transform => "transform",
        PlanNodeKind::Sink => "sink",
        PlanNodeKind::Rejected => "rejected",
    };
    html! {
        g class={ "node " (kind) } {
            rect x=(placed.x) y=(placed.y) width=(BOX_WIDTH) height=(placed.height) rx="6" {}
            text.title x=(placed.x + 12.0) y=(placed.y + 21.0) { (shortened(&placed.node.title, 20)) }
            @for (at, detail) in placed.node.details.iter().take(MAX_LINES).enumerate() {
                text.detail x=(placed.x + 12.0) y=(placed.y + HEAD + 8.0 + at as f64 * LINE) {
                    (shortened(detail, 23))
                    title { (detail) }
                }
            }
        }
    }
}

fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PlanEdge;

    fn node(title: &str) -> PlanNode {
        PlanNode { title: title.to_owned(), details: Vec::new(), kind: PlanNodeKind::Transform }
    }

    #[test]
    fn a_node_stands_right_of_all_that_lead_to_it_and_a_circle_ends() {
        let edge = |from, to| PlanEdge { from, to, label: None };
        let nodes = ["sink", "source", "step"].map(node).to_vec();
        let plan = PlanPicture { nodes, edges: vec![edge(2, 0), edge(1, 2), edge(1, 0), edge(0, 1), edge(7, 9)] };
        let straight = PlanPicture { edges: plan.edges[..3].to_vec(), ..plan.clone() };
        let (placed, ..) = place(&straight);
        assert!(placed[1].x < placed[2].x && placed[2].x < placed[0].x);
        assert!(plan_picture(&plan).into_string().contains("<svg"));
    }
}
