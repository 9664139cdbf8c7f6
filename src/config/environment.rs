//! What the environment says, variable by variable.

use std::env::VarError;
use std::path::Path;

use super::{ConfigError, Secret};

/// What the environment says, by the names of its variables.
#[derive(Clone, Default)]
pub struct Environment {
    /// `DISCONNECTD_DATABASE_URL`, or what is in the file that `DISCONNECTD_DATABASE_URL_FILE` names.
    pub database_url: Option<String>,
    /// `DISCONNECTD_QUEUE_URL`, or by a file.
    pub queue_url: Option<String>,
    /// `DISCONNECTD_QUEUE_CA_FILE`
    pub queue_ca_file: Option<String>,
    /// `DISCONNECTD_HTTP_LISTEN`
    pub http_listen: Option<String>,
    /// `DISCONNECTD_PUBLIC_URL`
    pub public_url: Option<String>,
    /// `DISCONNECTD_TOKEN`, or by a file.
    pub token: Option<Secret>,
    /// `DISCONNECTD_TRACES_ENDPOINT`
    pub traces_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`
    pub otlp_traces_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`
    pub otlp_endpoint: Option<String>,
    /// `OTEL_SDK_DISABLED`
    pub otel_disabled: Option<String>,
    /// `OTEL_TRACES_EXPORTER`
    pub otel_traces_exporter: Option<String>,
}

impl Environment {
    /// An empty variable counts as none.
    ///
    /// # Errors
    /// A variable that is not UTF-8; a file that can't be read; a secret that is given twice.
    pub fn read() -> Result<Self, ConfigError> {
        let variable = |name: &str| match std::env::var(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                Err(ConfigError::Invalid { place: name.to_owned(), error: "it is not UTF-8".into(), in_file: false })
            }
        };
        // Those that are meant for every program of a machine are not for us to complain about.
        let everybodys = |name: &str| variable(name).ok().flatten();
        // What may be secret can be given by a file, too, as containers are.
        let secret = |name: &str| {
            let place = format!("{name}_FILE");
            match (variable(name)?, variable(&place)?) {
                (value, None) => Ok(value),
                (None, Some(path)) => read_secret(&place, Path::new(&path)).map(Some),
                (Some(_), Some(_)) => {
                    Err(ConfigError::Unfit { place, error: format!("{name} is set as well; unset one of the two") })
                }
            }
        };
        Ok(Self {
            database_url: secret("DISCONNECTD_DATABASE_URL")?,
            queue_url: secret("DISCONNECTD_QUEUE_URL")?,
            queue_ca_file: variable("DISCONNECTD_QUEUE_CA_FILE")?,
            http_listen: variable("DISCONNECTD_HTTP_LISTEN")?,
            public_url: variable("DISCONNECTD_PUBLIC_URL")?,
            token: secret("DISCONNECTD_TOKEN")?.map(Secret),
            traces_endpoint: variable("DISCONNECTD_TRACES_ENDPOINT")?,
            otlp_traces_endpoint: everybodys("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            otlp_endpoint: everybodys("OTEL_EXPORTER_OTLP_ENDPOINT"),
            otel_disabled: everybodys("OTEL_SDK_DISABLED"),
            otel_traces_exporter: everybodys("OTEL_TRACES_EXPORTER"),
        })
    }
}

/// One line; what ends it does not count.
fn read_secret(place: &str, path: &Path) -> Result<String, ConfigError> {
    let wrong = |error: String| ConfigError::UnreadableSecret { place: place.to_owned(), path: path.to_owned(), error };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    match text.trim() {
        "" => Err(wrong("it is empty".into())),
        text if text.contains('\n') => Err(wrong("it has several lines, and takes one".into())),
        text => Ok(text.to_owned()),
    }
}
