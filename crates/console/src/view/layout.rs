//! The frame of every page: header, navigation, main, footer.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::address::{PageAddress, SECTIONS};
use crate::assets::{ICON, SCRIPT, STYLE};
use crate::data::PipelineListing;
use crate::fragment::Fragment;

/// The fragment that stands in the header of every page: whether it runs, and how fast.
pub(crate) const PULSE: &str = "pulse";

/// What the frame needs besides the page's content.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// The page's title.
    pub(crate) title: String,
    /// The page, if it is one of a pipeline.
    pub(crate) address: Option<PageAddress>,
    /// All pipelines.
    pub(crate) pipelines: Vec<PipelineListing>,
    /// `light`, `dark`, or whatever the system prefers.
    pub(crate) theme: Option<&'static str>,
    /// The hidden value of forms.
    pub(crate) form_key: String,
    /// Path and query of the page's live stream.
    pub(crate) live: Option<String>,
    /// The outcome of an action, above the page.
    pub(crate) outcome: Option<Markup>,
    /// Whether a person can log out.
    pub(crate) logged_in: bool,
}

/// A whole page. `content` stands after the fragments.
pub(crate) fn layout(frame: &Frame, fragments: &[Fragment], content: &Markup) -> Markup {
    let (pulse, main): (Vec<_>, Vec<_>) = fragments.iter().partition(|fragment| fragment.id == PULSE);
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[frame.theme] {
            (head(frame))
            body data-live=[frame.live.as_deref()] {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" {
                        img src=(ICON.href()) alt="" width="22" height="22";
                        span { "turnstile" }
                    }
                    (pipeline_menu(frame))
                    div #pulse.pulse {
                        @for fragment in pulse { (PreEscaped(&fragment.html)) }
                    }
                    div.tools {
                        @if frame.live.is_some() {
                            span #live.live role="status" data-state="off" { "not live" }
                        }
                        button #theme type="button" hidden { "Dark" }
                        button #help type="button" hidden aria-haspopup="dialog" { "Keys" }
                    }
                }
                @if let Some(address) = &frame.address { (navigation(address)) }
                main #main tabindex="-1" {
                    @if let Some(outcome) = &frame.outcome { (outcome) }
                    div #fragments {
                        @for fragment in main {
                            div.fragment id=(fragment.id) { (PreEscaped(&fragment.html)) }
                        }
                    }
                    (content)
                }
                form #actions method="post" hidden {
                    input type="hidden" name="key" value=(frame.form_key);
                }
                (footer(frame))
                (shortcuts())
            }
        }
    }
}

fn head(frame: &Frame) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (frame.title) " · turnstile" }
            link rel="icon" type="image/svg+xml" href=(ICON.href());
            link rel="stylesheet" href=(STYLE.href());
            script src=(SCRIPT.href()) defer {}
        }
    }
}

fn pipeline_menu(frame: &Frame) -> Markup {
    let Some(address) = &frame.address else { return html! {} };
    html! {
        @match frame.pipelines.len() {
            0 | 1 => span.pipeline { (address.pipeline) },
            _ => details.pipelines {
                summary {
                    span.hidden { "Pipeline: " }
                    (address.pipeline)
                }
                ul {
                    @for pipeline in &frame.pipelines {
                        li {
                            a   href={ "/p/" (pipeline.name) }
                                aria-current=[(pipeline.name == address.pipeline).then_some("true")]
                            {
                                (pipeline.name)
                                " "
                                small { (if pipeline.running { "running" } else { "not running" }) }
                            }
                        }
                    }
                }
            },
        }
    }
}

fn navigation(address: &PageAddress) -> Markup {
    html! {
        nav.sections aria-label="Pages" {
            ul {
                @for (at, (title, path, key)) in SECTIONS.iter().enumerate() {
                    li {
                        a   href={
                                "/p/"
                                (address.pipeline)
                                @if !path.is_empty() { "/" (path) }
                            }
                            data-key=(key)
                            aria-current=[(at == address.section()).then_some("page")]
                        { (title) }
                    }
                }
            }
        }
    }
}

fn footer(frame: &Frame) -> Markup {
    html! {
        footer.bottom {
            p { "All times are UTC. Windows are from their start up to, but without, their end." }
            @if frame.logged_in {
                form method="post" action="/logout" {
                    input type="hidden" name="key" value=(frame.form_key);
                    button type="submit" { "Log out" }
                }
            }
        }
    }
}

fn shortcuts() -> Markup {
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keyboard" }
            dl.keys {
                @for (title, _, key) in SECTIONS {
                    dt {
                        kbd { "g" }
                        " "
                        kbd { (key) }
                    }
                    dd { (title) }
                }
                dt {
                    kbd { "t" }
                }
                dd { "Light or dark" }
                dt {
                    kbd { "/" }
                }
                dd { "To the SQL editor" }
                dt {
                    kbd { "Ctrl" }
                    " "
                    kbd { "Enter" }
                }
                dd { "Run the query" }
                dt {
                    kbd { "?" }
                }
                dd { "This list" }
            }
            form method="dialog" {
                button type="submit" { "Close" }
            }
        }
    }
}
