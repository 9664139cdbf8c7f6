//! Where traces go, and how many of them.

use serde::Deserialize;
use url::Url;

use super::Environment;

#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// Where they are posted, in whole.
    pub endpoint: Url,
    /// The share of the traces begun here that is kept, from 0 to 1.
    pub ratio: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TracesFile {
    endpoint: Option<String>,
    ratio: f64,
}

impl Default for TracesFile {
    fn default() -> Self {
        Self { endpoint: None, ratio: 1.0 }
    }
}

/// What is wrong, with the key or the variable that it is wrong at.
pub(super) struct Wrong {
    pub(super) place: &'static str,
    pub(super) in_file: bool,
    pub(super) error: String,
}

/// What OTLP adds to a collector's address.
const PATH: &str = "v1/traces";

/// `None`: they are off. What is wrong in a variable of the standard's, which is meant for every program there, stops nobody:
/// it is passed over, with a sentence.
pub(super) fn resolve(
    file: &TracesFile,
    environment: &Environment,
) -> Result<(Option<TracesConfig>, Vec<String>), Wrong> {
    if !(0.0..=1.0).contains(&file.ratio) {
        let error = format!("{} is no share; it goes from 0 (none) to 1 (all)", file.ratio);
        return Err(Wrong { place: "traces.ratio", in_file: true, error });
    }
    let says =
        |said: &Option<String>, word: &str| said.as_ref().is_some_and(|said| said.trim().eq_ignore_ascii_case(word));
    if says(&environment.otel_disabled, "true") || says(&environment.otel_traces_exporter, "none") {
        return Ok((None, Vec::new()));
    }
    // Ours before the standard's, and the environment before the file. Of the standard's, one is for traces alone and is
    // not added to.
    let given = [
        (environment.traces_endpoint.as_deref(), "DISCONNECTD_TRACES_ENDPOINT", Whose::Ours { in_file: false }),
        (
            environment.otlp_traces_endpoint.as_deref(),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            Whose::Everybodys { is_whole: true },
        ),
        (environment.otlp_endpoint.as_deref(), "OTEL_EXPORTER_OTLP_ENDPOINT", Whose::Everybodys { is_whole: false }),
        (file.endpoint.as_deref(), "traces.endpoint", Whose::Ours { in_file: true }),
    ];
    let mut passed_over = Vec::new();
    for (text, place, whose) in given {
        let Some(text) = text else { continue };
        match (parse(text, matches!(whose, Whose::Everybodys { is_whole: true })), whose) {
            (Ok(endpoint), _) => {
                return Ok((Some(TracesConfig { endpoint, ratio: file.ratio }), passed_over));
            }
            (Err(error), Whose::Ours { in_file }) => return Err(Wrong { place, in_file, error }),
            (Err(error), Whose::Everybodys { .. }) => passed_over.push(format!("{place} is passed over: {error}")),
        }
    }
    Ok((None, passed_over))
}

/// Whose word an address is.
#[derive(Clone, Copy)]
enum Whose {
    Ours { in_file: bool },
    Everybodys { is_whole: bool },
}

/// Nothing of it is repeated: it may hold a password.
fn parse(text: &str, is_whole: bool) -> Result<Url, String> {
    const LIKE: &str = "write it like http://127.0.0.1:4318";
    let mut url = Url::parse(text.trim()).map_err(|error| format!("it is no URL ({error}); {LIKE}"))?;
    if url.scheme() != "http" || !url.has_host() {
        return Err(format!(
            "traces are sent over plain http, to a collector on this machine or network which passes them on; {LIKE}"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user and a password have no place in it; OTEL_EXPORTER_OTLP_HEADERS takes what proves it".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("nothing stands behind its path; {LIKE}"));
    }
    if !is_whole {
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{PATH}"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(environment: &Environment, file: &str) -> Result<Option<String>, String> {
        let file: TracesFile = toml::from_str(file).unwrap();
        match resolve(&file, environment) {
            Ok((config, _)) => Ok(config.map(|config| config.endpoint.to_string())),
            Err(Wrong { place, error, .. }) => Err(format!("{place}: {error}")),
        }
    }

    #[test]
    fn ours_comes_before_the_standards_and_the_environment_before_the_file() {
        let file = "endpoint = \"http://file:4318/\"";
        let mut environment = Environment::default();
        let to = |environment: &Environment, file| endpoint(environment, file).unwrap();
        assert_eq!(to(&environment, ""), None);
        assert_eq!(to(&environment, file).as_deref(), Some("http://file:4318/v1/traces"));
        environment.otlp_endpoint = Some("http://all:4318/otlp".into());
        assert_eq!(to(&environment, file).as_deref(), Some("http://all:4318/otlp/v1/traces"));
        environment.otlp_traces_endpoint = Some("http://traces:4318/as/it/is".into());
        assert_eq!(to(&environment, file).as_deref(), Some("http://traces:4318/as/it/is"));
        environment.traces_endpoint = Some("http://ours:4318".into());
        assert_eq!(to(&environment, file).as_deref(), Some("http://ours:4318/v1/traces"));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_may_be_secret() {
        for (text, part) in [
            ("secret:4318", "plain http"),
            ("https://secret:4318", "plain http"),
            ("secret", "it is no URL"),
            ("http://me:secret@host:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("http://host:4318/?key=secret", "behind its path"),
        ] {
            let environment = Environment { traces_endpoint: Some(text.into()), ..Environment::default() };
            let error = endpoint(&environment, "").unwrap_err();
            assert!(error.starts_with("DISCONNECTD_TRACES_ENDPOINT: ") && error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for ratio in ["1.01", "-0.1", "nan"] {
            let error = endpoint(&Environment::default(), &format!("ratio = {ratio}")).unwrap_err();
            assert!(error.starts_with("traces.ratio: "), "{error}");
        }
    }

    /// Set for a whole machine, it must not keep a clerk from a disconnect.
    #[test]
    fn what_all_programs_are_told_stops_none_of_ours() {
        let mut environment =
            Environment { otlp_endpoint: Some("https://secret:4318".into()), ..Environment::default() };
        let file = TracesFile::default();
        let Ok((None, passed_over)) = resolve(&file, &environment) else { panic!("it is refused, or taken") };
        let [sentence] = passed_over.as_slice() else { panic!("{passed_over:?}") };
        assert!(
            sentence.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT is passed over: traces are sent over plain"),
            "{sentence}"
        );
        assert!(!sentence.contains("secret"), "{sentence}");
        let to = |environment: &Environment| endpoint(environment, "endpoint = \"http://file:4318\"").unwrap();
        assert_eq!(to(&environment).as_deref(), Some("http://file:4318/v1/traces"));
        environment.otel_disabled = Some("true".into());
        assert_eq!(to(&environment), None);
        let none = Environment { otel_traces_exporter: Some("none".into()), ..Environment::default() };
        assert_eq!(to(&none), None);
    }
}
