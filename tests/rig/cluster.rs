//! The program as it runs at scale: each role a process of its own, behind lines that can break, started again whenever
//! it ends, as a service manager does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use disconnectd::fault::Step;

use super::servers::{free_port, signal};
use crate::program::Program;

/// Between the end of a process and its next start.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Scheduler,
    Worker,
    Api,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
            Self::Api => "api",
        }
    }
}

/// One process, whichever it is at the moment.
pub struct Member {
    pub role: Role,
    name: String,
    pub address: SocketAddr,
    /// A machine whose clock is wrong, from its next start on.
    clock_ahead_seconds: AtomicI64,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    child: Option<Child>,
    /// Where the next start is to end, once.
    abort_at: Option<String>,
    starts: u32,
    memory_kib: Vec<u64>,
}

pub struct Cluster {
    program: Program,
    folder: PathBuf,
    pub members: Vec<Member>,
    stopping: AtomicBool,
}

impl Cluster {
    /// 2 schedulers, 3 workers, of which the last has a clock that is an hour ahead, and 2 that answer.
    pub fn new(program: Program, folder: &Path) -> Self {
        let roles = [Role::Scheduler, Role::Scheduler, Role::Worker, Role::Worker, Role::Worker, Role::Api, Role::Api];
        let members = roles.iter().enumerate().map(|(n, role)| Member {
            role: *role,
            name: format!("{}-{n}", role.as_str()),
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            clock_ahead_seconds: AtomicI64::new(if n == 4 { 3_600 } else { 0 }),
            running: Mutex::default(),
        });
        Self { program, folder: folder.to_owned(), members: members.collect(), stopping: AtomicBool::new(false) }
    }

    /// Starts what does not run, until [`Cluster::stop`].
    pub fn supervise(&self) {
        while !self.stopping.load(Ordering::SeqCst) {
            for member in &self.members {
                self.start_if_ended(member);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn start_if_ended(&self, member: &Member) {
        let mut running = member.running.lock().unwrap();
        if let Some(child) = &mut running.child
            && child.try_wait().is_ok_and(|ended| ended.is_none())
        {
            return;
        }
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join(&member.name));
        let mut command = self.program.command(&["serve", "--roles", member.role.as_str()]);
        command
            .env("DISCONNECTD_HTTP_LISTEN", member.address.to_string())
            .env("DISCONNECTD_CLOCK_AHEAD_SECONDS", member.clock_ahead_seconds.load(Ordering::SeqCst).to_string())
            .stdout(Stdio::null())
            .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
        if let Some(abort_at) = running.abort_at.take() {
            command.env("DISCONNECTD_ABORT_AT", abort_at);
        }
        running.child = command.spawn().ok();
        running.starts += 1;
    }

    /// Ends [`Cluster::supervise`] when dropped.
    pub fn stopping_in_the_end(&self) -> impl Drop {
        struct Stopping<'a>(&'a AtomicBool);
        impl Drop for Stopping<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        Stopping(&self.stopping)
    }

    /// Ends them all, gently. Answers those that did not end well.
    pub fn stop(&self) -> Vec<String> {
        self.stopping.store(true, Ordering::SeqCst);
        let mut unwell = Vec::new();
        for member in &self.members {
            let mut running = member.running.lock().unwrap();
            let Some(mut child) = running.child.take() else { continue };
            signal(child.id(), "TERM");
            match child.wait() {
                Ok(status) if status.success() => {}
                ended => unwell.push(format!("{} ended with {ended:?}", member.name)),
            }
        }
        unwell
    }

    /// Notes how much memory each process has now.
    pub fn measure(&self) {
        for member in &self.members {
            let mut running = member.running.lock().unwrap();
            let Some(process) = running.child.as_ref().map(Child::id) else { continue };
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let resident = resident.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
            running.memory_kib.extend(resident);
        }
    }

    /// Name, starts, and the memory of each look in KiB.
    pub fn measured(&self) -> Vec<(String, u32, Vec<u64>)> {
        let of = |member: &Member| {
            let running = member.running.lock().unwrap();
            (member.name.clone(), running.starts, running.memory_kib.clone())
        };
        self.members.iter().map(of).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        for member in &self.members {
            if let Ok(mut running) = member.running.lock()
                && let Some(mut child) = running.child.take()
            {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Member {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Nothing, where it does not run at the moment.
    pub fn signal(&self, name: &str) {
        let running = self.running.lock().unwrap();
        if let Some(child) = &running.child {
            signal(child.id(), name);
        }
    }

    /// Its next process, which begins at once, is on a machine with another clock.
    pub fn move_clock(&self, ahead_seconds: i64) {
        self.clock_ahead_seconds.store(ahead_seconds, Ordering::SeqCst);
        self.signal("KILL");
    }

    /// Its next process, which begins at once, ends the nth time that it gets behind a step.
    pub fn abort_behind(&self, step: Step, nth: u32) {
        self.running.lock().unwrap().abort_at = Some(format!("{}:{nth}", step.as_str()));
        self.signal("KILL");
    }
}
