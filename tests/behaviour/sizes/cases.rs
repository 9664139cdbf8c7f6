//! What is too large, too deep, without an end, or not to be understood: what is sent, and what may be answered.

use crate::support::database::PROBE_TOKEN;

/// One connection, and what comes on it.
pub struct Case {
    pub name: &'static str,
    pub head: String,
    pub body: Vec<(Vec<u8>, usize)>,
    /// One of these. None: the connection is closed without an answer.
    pub answers: &'static [Option<u16>],
    /// Nothing more is sent, and the other side is told so.
    pub breaks_off: bool,
}

impl Case {
    /// Whether programs ask there, and not people.
    pub fn is_api(&self) -> bool {
        self.head.split(' ').nth(1).is_some_and(|path| path.starts_with("/api"))
    }

    fn breaks_off(self) -> Self {
        Self { breaks_off: true, ..self }
    }
}

const KB: usize = 1024;
const MB: usize = 1024 * KB;

const JSON: &str = "Content-Type: application/json\r\n";
const CSV: &str = "Content-Type: text/csv\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const PARTS: &str = "Content-Type: multipart/form-data; boundary=B\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// It is read and can't be meant.
const INVALID: &[Option<u16>] = &[Some(422)];
const TOO_LARGE: &[Option<u16>] = &[Some(413)];
/// Before all of it came: whoever goes on to send may not get to see the answer.
const CUT_OFF: &[Option<u16>] = &[Some(413), None];
/// What is no HTTP, or has too long a head. Some of it comes when the answer is given already.
const NO_HEAD: &[Option<u16>] = &[Some(400), Some(414), Some(431), None];
const MALFORMED: &[Option<u16>] = &[Some(400)];
const UNTOLD: &[Option<u16>] = &[Some(415)];

/// One that disconnects somebody, if it can be read.
const DISCONNECT: &str = "/api/v1/accounts/1001/disconnect";

/// A request that somebody could hide in another one: it would be answered with what only an admin may see.
pub fn hidden() -> String {
    format!("GET /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {PROBE_TOKEN}\r\n\r\n")
}

fn head(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

fn length(length: usize) -> String {
    format!("Content-Length: {length}\r\n")
}

fn authorized(headers: &str) -> String {
    format!("Authorization: Bearer {PROBE_TOKEN}\r\n{headers}")
}

fn case(name: &'static str, head: String, body: Vec<(Vec<u8>, usize)>, answers: &'static [Option<u16>]) -> Case {
    Case { name, head, body, answers, breaks_off: false }
}

/// With its length.
fn whole(name: &'static str, path: &str, headers: &str, body: String, answers: &'static [Option<u16>]) -> Case {
    let head = head("POST", path, &(headers.to_owned() + &length(body.len())));
    case(name, head, vec![(body.into_bytes(), 1)], answers)
}

fn chunk(text: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

fn nested(open: &str, close: &str) -> String {
    let depth = 100_000;
    format!("{{\"children\":{}{}}}", open.repeat(depth), close.repeat(depth))
}

pub fn all(session: &str, form_key: &str) -> Vec<Case> {
    let all = [documents(), framings(), heads(session), files(), long_texts(), forms(session, form_key)];
    all.into_iter().flatten().collect()
}

fn documents() -> Vec<Case> {
    let json = authorized(JSON);
    let packed = [b"\x1f\x8b\x08\x00".as_slice(), &[0; 60]].concat();
    let endless = (chunk(&vec![b' '; 64 * KB]), 1024);
    vec![
        whole("a document of 1 MB and 1", DISCONNECT, &json, " ".repeat(MB + 1), TOO_LARGE),
        case(
            "in chunks",
            head("POST", DISCONNECT, &(json.clone() + CHUNKED)),
            vec![(chunk(&[b' '; KB]), KB), (chunk(b" "), 1)],
            CUT_OFF,
        ),
        case(
            "chunks without an end",
            head("POST", DISCONNECT, &(json.clone() + CHUNKED)),
            vec![endless.clone()],
            CUT_OFF,
        ),
        case("to nobody", head("POST", DISCONNECT, &(JSON.to_owned() + CHUNKED)), vec![endless], &[Some(401), None]),
        whole("objects in objects", DISCONNECT, &json, nested("{\"a\":", "}"), INVALID),
        whole("lists in lists", DISCONNECT, &json, nested("[", "]"), INVALID),
        whole(
            "a document that is packed",
            DISCONNECT,
            &(json.clone() + "Content-Encoding: gzip\r\n"),
            "{}".into(),
            UNTOLD,
        ),
        case(
            "a packed file",
            head(
                "POST",
                "/api/v1/imports/accounts",
                &(authorized(CSV) + "Content-Encoding: gzip\r\n" + &length(packed.len())),
            ),
            vec![(packed, 1)],
            UNTOLD,
        ),
        case(
            "less than was said",
            head("POST", DISCONNECT, &(json + &length(100))),
            vec![(b"{}".into(), 1)],
            &[Some(422), None],
        )
        .breaks_off(),
    ]
}

/// Where it is not clear where a request ends, another one can hide in it.
fn framings() -> Vec<Case> {
    let hidden = hidden();
    let behind = |name, headers: &str, before: &str, answers| {
        case(name, head("POST", DISCONNECT, headers), vec![(format!("{before}{hidden}").into_bytes(), 1)], answers)
    };
    let json = authorized(JSON);
    let with = |headers: &str| json.clone() + headers;
    let unknown: &[_] = &[Some(401)];
    let chunked_and =
        |name, headers: &str, answers| behind(name, &(headers.to_owned() + CHUNKED), "0\r\n\r\n", answers);
    let bad_chunk =
        |name, size: &str| behind(name, &with(CHUNKED), &format!("{size}\r\n{{}}\r\n0\r\n\r\n"), &[Some(422), None]);
    vec![
        behind("in the body of who is refused", &length(hidden.len()), "", unknown),
        whole("in the body of what is too large", DISCONNECT, &json, hidden.repeat(MB / hidden.len() + 1), CUT_OFF),
        case(
            "in the body of what is not there",
            head("POST", "/nowhere", &length(hidden.len())),
            vec![(hidden.clone().into_bytes(), 1)],
            &[Some(404)],
        ),
        // The chunks decide, and the connection ends.
        chunked_and("behind both lengths", &length(5), unknown),
        behind("behind both, the other way round", &(CHUNKED.to_owned() + &length(5)), "0\r\n\r\n", unknown),
        behind("behind both, of somebody known", &(with(CHUNKED) + &length(5)), "2\r\n[]\r\n0\r\n\r\n", &[Some(422)]),
        case(
            "another coding, of nobody",
            head("GET", "/api/v1/nowhere", "Transfer-Encoding: gzip, chunked\r\n"),
            vec![(format!("0\r\n\r\n{hidden}").into_bytes(), 1)],
            &[Some(501)],
        ),
        behind("two lengths", &with("Content-Length: 2\r\nContent-Length: 200\r\n"), "{}", MALFORMED),
        behind("two in one", &with("Content-Length: 2, 200\r\n"), "{}", MALFORMED),
        behind("a length with a sign", &with("Content-Length: +2\r\n"), "{}", MALFORMED),
        behind("a negative one", &with("Content-Length: -2\r\n"), "{}", MALFORMED),
        behind("one beyond all numbers", &with("Content-Length: 18446744073709551618\r\n"), "{}", MALFORMED),
        behind("a folded line", &with("Transfer-Encoding:\r\n chunked\r\n"), "0\r\n\r\n", MALFORMED),
        behind("a blank before the colon", &with("Transfer-Encoding : chunked\r\n"), "0\r\n\r\n", MALFORMED),
        behind("another coding", &with("Transfer-Encoding: xchunked\r\n"), "0\r\n\r\n", MALFORMED),
        behind("one behind the chunks", &with("Transfer-Encoding: chunked, identity\r\n"), "0\r\n\r\n", MALFORMED),
        behind("one before them", &with("Transfer-Encoding: gzip, chunked\r\n"), "0\r\n\r\n", &[Some(501)]),
        behind(
            "one before them in a line of its own",
            &with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
            "0\r\n\r\n",
            &[Some(501)],
        ),
        bad_chunk("a chunk of no size", "zz"),
        bad_chunk("a negative chunk", "-2"),
        bad_chunk("a chunk with a prefix", "0x2"),
        bad_chunk("a chunk beyond all numbers", "fffffffffffffffff2"),
        bad_chunk("a chunk that is longer than it says", "1"),
        bad_chunk("an extension without an end", &format!("2;{}", "x".repeat(MB))),
        behind("a zero in a name", &with("X\0: a\r\n"), "", MALFORMED),
        behind("a line end in a value", &with("X: a\rb\r\n"), "", MALFORMED),
    ]
}

fn heads(session: &str) -> Vec<Case> {
    let get = |path: &str, headers: &str| head("GET", path, &authorized(headers));
    let one = |name, head| case(name, head, Vec::new(), NO_HEAD);
    let cookie = format!("Cookie: disconnectd_session={session}{}\r\n", "x".repeat(64 * KB));
    vec![
        one("a URL of 1 MB", get(&format!("/api/v1/accounts?search={}", "x".repeat(MB)), "")),
        one("a path of 1 MB", get(&"/x".repeat(MB / 2), "")),
        one("10,000 headers", get("/api/v1/accounts", &"X-Many: a\r\n".repeat(10_000))),
        one("a header of 1 MB", get("/api/v1/accounts", &format!("X-Long: {}\r\n", "x".repeat(MB)))),
        one("a name of 1 MB", get("/api/v1/accounts", &format!("{}: x\r\n", "x".repeat(MB)))),
        one(
            "a token of 1 MB",
            head("GET", "/api/v1/accounts", &format!("Authorization: Bearer {}\r\n", "x".repeat(MB))),
        ),
        case("a cookie of 64 kB", head("GET", "/accounts", &cookie), vec![], &[Some(303), Some(431), None]),
        one("a method of 1 MB", format!("{} /api/v1/accounts HTTP/1.1\r\nHost: localhost\r\n\r\n", "X".repeat(MB))),
        case(
            "another's large cookie",
            head("GET", "/accounts", &format!("Cookie: x={}\r\n", "x".repeat(32 * KB))),
            vec![],
            &[Some(303)],
        ),
    ]
}

const ACCOUNTS: &str = "number,name,status,parent_number,currency,zone,address,email,mailing_address,groups\n";

fn files() -> Vec<Case> {
    let import = "/api/v1/imports/accounts";
    let csv = authorized(CSV);
    let line = vec![b'x'; 64 * KB];
    let begin = format!("{ACCOUNTS}9001,");
    let of_a_line = |name, path: &str, begin: String, times: usize| {
        let headers = csv.clone() + &length(begin.len() + line.len() * times);
        case(name, head("POST", path, &headers), vec![(begin.into_bytes(), 1), (line.clone(), times)], INVALID)
    };
    vec![
        of_a_line("a line of 100 MB", import, begin.clone(), 1600),
        of_a_line("a list with such a line", "/api/v1/campaigns?name=Long", "account_number\n".into(), 160),
        whole("a head of 10,000 columns", import, &csv, "number,".repeat(10_000) + "\n", INVALID),
        whole("a row of 10,000 columns", import, &csv, format!("{ACCOUNTS}{}\n", ",".repeat(10_000)), INVALID),
        whole("a quote without an end", import, &csv, format!("{begin}\"{}", "x\n".repeat(MB)), INVALID),
        case(
            "a file of more than 1 GB",
            head("POST", import, &(csv.clone() + &length(1024 * MB + 1))),
            vec![],
            TOO_LARGE,
        ),
        case(
            "a file that breaks off",
            head("POST", import, &(csv.clone() + CHUNKED)),
            vec![(chunk(begin.as_bytes()), 1), (chunk(&line), 100)],
            &[Some(422), None],
        )
        .breaks_off(),
    ]
}

fn long_texts() -> Vec<Case> {
    let long = "x".repeat(100_000);
    let in_url = "x".repeat(48 * KB);
    let get = |name, path: String| case(name, head("GET", &path, &authorized("")), vec![], INVALID);
    let post = |name, path: &str, document: String| whole(name, path, &authorized(JSON), document, INVALID);
    let template = |filter: &str, cron: &str| {
        format!("{{\"name\":\"T\",\"where\":\"{filter}\",\"cron\":\"{cron}\",\"accounts_max\":1}}")
    };
    let campaign = |filter: &str| format!("{{\"name\":\"C\",\"where\":\"{filter}\"}}");
    vec![
        get("a long search", format!("/api/v1/accounts?search={in_url}")),
        get("a long cursor", format!("/api/v1/accounts?after={in_url}")),
        get("a long numbered cursor", format!("/api/v1/events?after={}", "9".repeat(48 * KB))),
        get("a long number", format!("/api/v1/accounts/{in_url}")),
        get("a long date", format!("/api/v1/accounts/1001/overview?on={in_url}")),
        post("a long filter", "/api/v1/campaigns", campaign(&format!("number = {long}"))),
        post("a filter of many conditions", "/api/v1/campaigns", campaign(&"number = 1 or ".repeat(7_000))),
        post("a deep filter", "/api/v1/campaigns", campaign(&"(".repeat(100_000))),
        post(
            "a long cron expression",
            "/api/v1/campaign-templates",
            template("number = 1", &format!("{}0 2 1 * *", "0,".repeat(50_000))),
        ),
        post("one of many fields", "/api/v1/campaign-templates", template("number = 1", &"0 ".repeat(50_000))),
        post("a long name", "/api/v1/campaigns", format!("{{\"name\":\"{long}\",\"where\":\"number = 1\"}}")),
        post("a long reason", DISCONNECT, format!("{{\"reason\":\"{long}\"}}")),
        post("a long date of a disconnect", DISCONNECT, format!("{{\"on\":\"{long}\"}}")),
        post(
            "a long window",
            "/api/v1/campaigns",
            format!("{{\"name\":\"C\",\"where\":\"number = 1\",\"window\":\"{}\"}}", "mon 01:00-02:00;".repeat(6_000)),
        ),
        whole(
            "a long key",
            DISCONNECT,
            &(authorized(JSON) + &format!("Idempotency-Key: {in_url}\r\n")),
            "{}".into(),
            INVALID,
        ),
    ]
}

fn forms(session: &str, form_key: &str) -> Vec<Case> {
    let before = "abcdefghijklmnopqrstuv";
    let stranger = format!("Cookie: disconnectd_form={before}\r\n");
    let clerk = format!("Cookie: disconnectd_session={session}\r\n");
    let fields = |count| "a&".repeat(count);
    let sign_in = |name, body: String| {
        whole(name, "/sign-in", &(stranger.clone() + FORM), format!("form_key={before}&{body}"), TOO_LARGE)
    };
    let new =
        |name, kind: &str, body: String, answers| whole(name, "/campaigns/new", &(clerk.clone() + kind), body, answers);
    let in_parts = |name, begin: &str, (part, times): (&[u8], usize), answers| {
        let headers = clerk.clone() + PARTS + CHUNKED;
        let part = chunk(&part.repeat(64 * KB / part.len()));
        case(name, head("POST", "/campaigns/new", &headers), vec![(chunk(begin.as_bytes()), 1), (part, times)], answers)
    };
    let field = b"--B\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n\r\n";
    let file = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n";
    let broken: &[_] = &[Some(400), Some(413), None];
    let key = format!("--B\r\nContent-Disposition: form-data; name=\"form_key\"\r\n\r\n{form_key}\r\n");
    let row = "account_number,".repeat(10_000);
    let packed = |head: &str| head.to_owned() + "Content-Encoding: gzip\r\n";
    vec![
        sign_in("100,000 fields of a stranger", fields(100_000)),
        sign_in("33 fields of a stranger", fields(33)),
        sign_in("a stranger's form of 1 MB", "x".repeat(MB)),
        new("100,000 fields", FORM, format!("form_key={form_key}&{}", fields(100_000)), TOO_LARGE),
        new("a form of 1 MB", FORM, "x".repeat(MB), TOO_LARGE),
        new("a packed form", &packed(FORM), "form_key=".into(), UNTOLD),
        new("packed parts", &packed(PARTS), "--B--\r\n".into(), UNTOLD),
        new("a document in place of a form", JSON, nested("[", "]"), UNTOLD),
        in_parts("parts without a boundary", "", (b"x", 1024), broken),
        in_parts("a part whose head has no end", "--B\r\nX: ", (b"x", 1024), broken),
        in_parts("parts without an end", &key, (field, 1024), broken),
        in_parts(
            "a field without an end",
            &format!("{key}--B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n"),
            (b"x", 1024),
            broken,
        ),
        case(
            "a file that never ends",
            head("POST", "/campaigns/new", &(clerk.clone() + PARTS + CHUNKED)),
            vec![(chunk(key.as_bytes()), 1), (chunk(file.as_bytes()), 1), (chunk(&vec![b'x'; 64 * KB]), 160)],
            broken,
        )
        .breaks_off(),
        new("a list of 10,000 columns", PARTS, format!("{key}{file}{row}\r\n--B--\r\n"), INVALID),
        case(
            "a form of more than 256 MB",
            head("POST", "/campaigns/new", &(clerk + PARTS + &length(256 * MB + 1))),
            vec![],
            TOO_LARGE,
        ),
    ]
}
