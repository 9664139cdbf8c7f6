//! CAs of a test's own, made by the `openssl` command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use disconnectd::clock::Clock;

/// A CA that nobody else trusts.
pub struct Authority {
    folder: PathBuf,
}

/// A server's certificate and its key, in PEM.
pub struct Certificate {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// Of `openssl ca`, the one command that gives certificates a past.
const CONFIG: &str = "\
[ca]
default_ca = own
[own]
database = issued
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = optional
";

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let authority = Self { folder: folder.join(name) };
        std::fs::create_dir(&authority.folder).unwrap();
        std::fs::write(authority.folder.join("ca.cnf"), CONFIG).unwrap();
        std::fs::write(authority.folder.join("issued"), "").unwrap();
        let files = ["-keyout", "ca.key", "-out", "ca.pem", "-days", "30"];
        authority.openssl(&[&["req", "-x509"], &KEY[..], &["-subj", &format!("/CN={name}")], &files].concat());
        authority
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Of a server that has these names, as in `DNS:localhost`.
    pub fn issue(&self, names: &str) -> Certificate {
        let now = Clock::system().now();
        self.issue_for(names, now - chrono::TimeDelta::days(1), now + chrono::TimeDelta::days(1))
    }

    pub fn issue_expired(&self, names: &str) -> Certificate {
        let now = Clock::system().now();
        self.issue_for(names, now - chrono::TimeDelta::days(2), now - chrono::TimeDelta::days(1))
    }

    fn issue_for(
        &self,
        names: &str,
        from: chrono::DateTime<chrono::Utc>,
        until: chrono::DateTime<chrono::Utc>,
    ) -> Certificate {
        let [from, until] = [from, until].map(|at| at.format("%Y%m%d%H%M%SZ").to_string());
        let names = format!("subjectAltName={names}");
        let files = ["-keyout", "server.key", "-out", "server.csr"];
        self.openssl(&[&["req"], &KEY[..], &["-subj", "/CN=a server", "-addext", &names], &files].concat());
        let by =
            ["-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-startdate", &from, "-enddate", &until];
        let files = ["-in", "server.csr", "-out", "server.pem"];
        self.openssl(&[&["ca", "-batch", "-notext"], &by[..], &files].concat());
        let read = |name| std::fs::read(self.folder.join(name)).unwrap();
        Certificate { certificate: read("server.pem"), key: read("server.key") }
    }

    fn openssl(&self, arguments: &[&str]) {
        let command = Command::new("openssl").args(arguments).current_dir(&self.folder).stdin(Stdio::null()).output();
        let output = command.expect("openssl is installed");
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
