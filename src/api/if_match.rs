//! `If-Match`: what was looked at before, by the digest that was its `ETag`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::problem::{Answer, Problem};

/// How many an `If-Match` names at most. One was looked at, a second at another time perhaps.
const MATCHES_MAX: usize = 8;

/// The digests in `If-Match`, of all its lines; none where any will do (`*`), or the header is not there. Weak tags are
/// as good: proxies that pack an answer weaken its tag, and the digest is of what the answer says.
#[derive(Debug, PartialEq, Eq)]
pub struct IfMatch(pub Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        digests(&parts.headers).map(Self)
    }
}

fn digests(headers: &HeaderMap) -> Answer<Vec<String>> {
    let invalid = |why: &str| Problem::invalid("If-Match", why);
    let lines: Vec<_> = headers.get_all(header::IF_MATCH).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    if let [any] = lines[..]
        && any.trim() == "*"
    {
        return Ok(Vec::new());
    }
    let mut digests = Vec::new();
    for line in lines {
        let mut rest = line;
        loop {
            // A list may have empty members.
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let tag = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
            let Some((digest, behind)) = tag.and_then(|tag| tag.split_once('"')) else {
                return Err(invalid("it is not the ETag of what was looked at, which stands in quotes"));
            };
            rest = behind.trim_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(invalid("its ETags stand in quotes, with commas between them"));
            }
            digests.push(digest.to_owned());
        }
    }
    if headers.contains_key(header::IF_MATCH) && digests.is_empty() {
        return Err(invalid("it names no ETag"));
    }
    if digests.len() > MATCHES_MAX {
        return Err(invalid(&format!("it names more than {MATCHES_MAX} ETags")));
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_matched_as_an_etag_in_quotes() {
        let digests = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_MATCH, line.parse().unwrap());
            }
            super::digests(&headers).map_err(|problem| problem.code)
        };
        let read = |digests: &[&str]| Ok(digests.iter().map(ToString::to_string).collect());
        assert_eq!(digests(&["\"1.abc\""]), read(&["1.abc"]));
        assert_eq!(digests(&["W/\"1.abc\""]), read(&["1.abc"]), "a proxy packed it");
        assert_eq!(digests(&["\"a\", W/\"b,c\"", "\"d\""]), read(&["a", "b,c", "d"]));
        assert_eq!(digests(&["*"]), Ok(vec![]));
        assert_eq!(digests(&[]), Ok(vec![]));
        for bad in ["1.abc", "\"a\" \"b\"", "\"a\", b", "\"", "*, \"a\"", ""] {
            assert_eq!(digests(&[bad]), Err("invalid"), "{bad}");
        }
        assert_eq!(digests(&["\"a\""; MATCHES_MAX + 1]), Err("invalid"));
    }
}
