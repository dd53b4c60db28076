//! The page that asks for the token.

use maud::{Markup, html};

/// Asks for the token. `wrong`: the last one was not it.
pub(crate) fn login(form_key: &str, wrong: bool) -> Markup {
    html! {
        section.card.login {
            h1 { "Log in" }
            p {
                "This console needs the token of "
                code { "[console] token" }
                "."
            }
            @if wrong {
                p.problem role="alert" { "That is not the token." }
            }
            form method="post" action="/login" {
                input type="hidden" name="key" value=(form_key);
                label for="token" { "Token" }
                input #token type="password" name="token" autocomplete="current-password" required autofocus;
                button type="submit" { "Log in" }
            }
        }
    }
}
