//! A page: a full view around a part. htmx asks for the part alone.

use askama::Template;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use url::Url;

use super::assets::{PATHS, Paths};
use super::gate::Visitor;
use super::reader::Reader;
use super::sign_in::{BEFORE, cookie};
use crate::api::problem::{Answer, Problem};

/// Where htmx is to lead the whole page.
pub const REDIRECT: &str = "hx-redirect";

/// What a request says of how its answer is to look.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Where it was asked, to lead back to.
    pub here: String,
    /// htmx puts the answer into a page that is there.
    pub is_part: bool,
    pub reader: Reader,
    pub theme: Theme,
    /// What the forms that sign in have to show, where the browser has it already.
    pub before: Option<String>,
}

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the system has it.
    System,
    Light,
    Dark,
}

impl Theme {
    pub const COOKIE: &'static str = "disconnectd_theme";

    pub fn parse(text: &str) -> Self {
        match text {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::System => Self::Dark,
            Self::Dark => Self::Light,
            Self::Light => Self::System,
        }
    }
}

/// One of those that we make: 16 bytes in base64.
fn is_key(text: &str) -> bool {
    text.len() == 22 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

impl Asked {
    pub fn of(headers: &HeaderMap, uri: &Uri) -> Self {
        let says = |name: &str| headers.get(name).is_some_and(|value| value == "true");
        Self {
            here: uri.path_and_query().map_or("/", |here| here.as_str()).to_owned(),
            // A page that the browser's history lost is asked for whole.
            is_part: says("hx-request") && !says("hx-history-restore-request") && !says("hx-boosted"),
            reader: Reader::of(headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok())),
            theme: cookie(headers, Theme::COOKIE).map_or(Theme::System, Theme::parse),
            before: cookie(headers, BEFORE).filter(|key| is_key(key)).map(ToOwned::to_owned),
        }
    }

    /// The page that a form was sent from leads back to itself; where the form is sent to may be no page.
    pub fn sent_from_page(self, headers: &HeaderMap) -> Self {
        let page =
            headers.get(header::REFERER).and_then(|page| page.to_str().ok()).and_then(|page| Url::parse(page).ok());
        match page {
            Some(page) if !self.is_part => {
                Self { here: page[url::Position::BeforePath..url::Position::AfterQuery].to_owned(), ..self }
            }
            _ => self,
        }
    }

    /// What is shown where there is no answer.
    pub fn problem(&self, problem: &Problem, request_id: &str, visitor: Option<&Visitor>) -> Response {
        let part = ProblemPart { title: title(problem), detail: &problem.detail, request_id };
        let view = self.view(part.title, visitor, &part);
        (problem.status, view.unwrap_or_else(|_| Html(problem.detail.clone()).into_response())).into_response()
    }

    /// A page, or its part alone.
    ///
    /// # Errors
    /// A template that can't be rendered, which is a bug.
    pub fn view(&self, title: &str, visitor: Option<&Visitor>, part: &dyn askama::DynTemplate) -> Answer<Response> {
        let part = part.dyn_render().map_err(|error| unrendered(&error))?;
        if self.is_part {
            return Ok(Html(part).into_response());
        }
        let layout = Layout {
            title,
            part: &part,
            user: visitor.map(|visitor| (visitor.user.name.as_str(), visitor.user.role.as_str())),
            form_key: visitor.map(Visitor::form_key).transpose()?.unwrap_or_default(),
            here: &self.here,
            theme: self.theme.as_str(),
            next_theme: self.theme.next().as_str(),
            paths: &PATHS,
        };
        Ok(Html(layout.render().map_err(|error| unrendered(&error))?).into_response())
    }
}

impl Visitor {
    /// A page for them, or its part alone.
    ///
    /// # Errors
    /// As for [`Asked::view`].
    pub fn view(&self, title: &str, part: &dyn askama::DynTemplate) -> Answer<Response> {
        self.asked.view(title, Some(self), part)
    }

    /// Leads on to a page, after something was done.
    pub fn leads_to(&self, to: &str) -> Response {
        if self.asked.is_part {
            return (StatusCode::NO_CONTENT, [(REDIRECT, to)]).into_response();
        }
        Redirect::to(to).into_response()
    }
}

fn unrendered(error: &askama::Error) -> Problem {
    tracing::error!(%error, "a page can't be rendered, which is a bug");
    Problem::bug()
}

fn title(problem: &Problem) -> &'static str {
    match problem.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::METHOD_NOT_ALLOWED => "Not possible here",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::CONFLICT => "Not possible now",
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => "Not available at the moment",
        status if status.is_client_error() => "That can't be done",
        _ => "Something went wrong",
    }
}

#[derive(Template)]
#[template(path = "layout.html")]
struct Layout<'a> {
    title: &'a str,
    /// HTML, rendered by a template.
    part: &'a str,
    /// Name and role.
    user: Option<(&'a str, &'a str)>,
    form_key: String,
    here: &'a str,
    theme: &'static str,
    next_theme: &'static str,
    paths: &'a Paths,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPart<'a> {
    title: &'static str,
    detail: &'a str,
    request_id: &'a str,
}
