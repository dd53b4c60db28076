//! The login page.

use std::sync::Arc;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::pages::{BrowserId, framed_for};
use super::query::foreign_form;
use crate::guard::{LOGIN_COOKIE, set_cookie};
use crate::site::Site;
use crate::view::layout::Frame;
use crate::view::login::login;

/// What the login page sends.
#[derive(serde::Deserialize)]
pub(super) struct LoginForm {
    key: String,
    token: String,
}

/// What the button "log out" sends.
#[derive(serde::Deserialize)]
pub(super) struct LogoutForm {
    key: String,
}

/// Asks for the token.
pub(super) async fn form(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    match site.gate.has_token() && !site.admits(&headers) {
        true => page(&site, &headers, StatusCode::OK, false),
        false => Redirect::to("/").into_response(),
    }
}

/// Compares the token and gives the cookie.
pub(super) async fn log_in(State(site): State<Arc<Site>>, headers: HeaderMap, Form(form): Form<LoginForm>) -> Response {
    if !site.is_own_form(&headers, &form.key) {
        return foreign_form();
    }
    match site.gate.log_in(&form.token, site.now_us()).await {
        Some(cookie) => with_cookie(Redirect::to("/").into_response(), cookie),
        None => page(&site, &headers, StatusCode::UNAUTHORIZED, true),
    }
}

/// Takes the cookie back.
pub(super) async fn log_out(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Form(form): Form<LogoutForm>,
) -> Response {
    if !site.is_own_form(&headers, &form.key) {
        return foreign_form();
    }
    let response = Redirect::to("/").into_response();
    match set_cookie(LOGIN_COOKIE, "", 0, site.secure_cookies) {
        Some(cookie) => with_cookie(response, cookie),
        None => response,
    }
}

fn page(site: &Site, headers: &HeaderMap, status: StatusCode, wrong: bool) -> Response {
    let browser = BrowserId::of(site, headers);
    let content = login(&site.form_key(&browser.id), wrong);
    let frame = Frame { title: "Log in".to_owned(), ..Frame::default() };
    framed_for(site, headers, browser, status, frame, &[], &content)
}

fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
