//! A small HTTP client: one request on one connection, so that a test has it all in its hands.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any call takes that is not out of time.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A request that is being made.
pub struct Request {
    to: SocketAddr,
    head: String,
    body: Vec<u8>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// By names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(to: SocketAddr, method: &str, path: &str) -> Self {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        Self { to, head, body: Vec::new() }
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        let head = self.head + &format!("{name}: {value}\r\n");
        Self { head, ..self }
    }

    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", kind)
    }

    /// Sends it, and waits for no answer. Dropping the stream hangs up.
    pub fn sent(self) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.to)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let head = format!("{}Content-Length: {}\r\n\r\n", self.head, self.body.len());
        // One that is answered before it is read is still answered.
        let _ = stream.write_all(&[head.as_bytes(), &self.body].concat());
        Ok(stream)
    }

    pub fn try_answer(self) -> std::io::Result<Answer> {
        let mut stream = self.sent()?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        // A server that closes before it has read all may reset what it wrote last; what came is looked at.
        let read = loop {
            match stream.read(&mut chunk) {
                Ok(0) => break None,
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(error) => break Some(error),
            }
            // Chromedriver says that it closes, and does not.
            if Answer::parse(&bytes).is_some_and(|answer| answer.is_whole()) {
                break None;
            }
        };
        Answer::parse(&bytes).ok_or_else(|| read.unwrap_or_else(|| std::io::Error::other("no answer")))
    }

    #[track_caller]
    pub fn answer(self) -> Answer {
        let head = self.head.clone();
        self.try_answer().unwrap_or_else(|error| panic!("{error}: {head}"))
    }
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Self { status, headers: lines.filter_map(header).collect(), body: bytes[end + 4..].to_vec() })
    }

    /// Whether as much has come as it says. One that does not say ends with the connection.
    pub fn is_whole(&self) -> bool {
        let length = self.header("content-length").and_then(|length| length.parse().ok());
        length.is_some_and(|length: usize| self.body.len() >= length)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// Checks the status, and shows everything where it is another.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        self
    }

    /// Checks that it is a problem of this type, well-formed, and answers it.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        let answer = self.is(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["type"], format!("urn:disconnectd:problem:{code}"), "{problem}");
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
        assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{problem}");
        problem
    }
}
