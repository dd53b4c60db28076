//! Who may ask for what: hosts, origins, tokens, forms, and the headers of every answer.
//!
//! In: every request, before any page sees it. Out: the request, or a refusal. Start at `routes.rs`, which asks each in turn.

mod cookies;
mod headers;
mod keys;
mod login;
mod request_rules;

pub(crate) use cookies::{cookie, set_cookie};
pub(crate) use headers::secure_headers;
pub(crate) use keys::ProcessKeys;
pub(crate) use login::{LOGIN_COOKIE, LoginGate};
pub(crate) use request_rules::{AllowedHosts, Refusal, check_origin, check_path};
