//! What the parts have used up: read before and after, and the difference is what it took.

use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};
use sqlx::PgPool;

/// What Linux counts processor time in, on every machine that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

pub struct Meter {
    postmaster: u32,
    broker: u32,
}

/// Since ever; or what was used between two of them.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Seconds of processor time: of this process, of all of PostgreSQL's, of RabbitMQ's.
    pub own: f64,
    pub postgres: f64,
    pub broker: f64,
    pub wal_bytes: f64,
    /// Whole pages that the WAL holds: each the first time that it is changed after a checkpoint.
    pub wal_pages: f64,
    /// That clients sent to the database; those of the bench, which say so, are left out.
    pub statements: f64,
    pub commits: f64,
}

impl Sub for Reading {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            own: self.own - before.own,
            postgres: self.postgres - before.postgres,
            broker: self.broker - before.broker,
            wal_bytes: self.wal_bytes - before.wal_bytes,
            wal_pages: self.wal_pages - before.wal_pages,
            statements: self.statements - before.statements,
            commits: self.commits - before.commits,
        }
    }
}

impl Meter {
    pub fn from_environment() -> Result<Self> {
        let folder = std::env::var("DISCONNECTD_TEST_FOLDER").context("run this in the shell of tests/run")?;
        let broker = fs::read_to_string(format!("{folder}/rabbitmq/pid"))?;
        let postmaster = std::env::var("BENCH_POSTMASTER_PID").context("run this by benches/counting")?;
        Ok(Self { postmaster: postmaster.parse()?, broker: broker.trim().parse()? })
    }

    pub async fn read(&self, bench: &PgPool) -> Result<Reading> {
        let (wal_bytes, wal_pages, statements, commits) = sqlx::query_as(
            "/* bench: read */
             select (pg_current_wal_lsn() - '0/0')::float8, (select wal_fpi::float8 from pg_stat_wal),
                    (select coalesce(sum(calls), 0)::float8 from pg_stat_statements s join pg_database d on d.oid = s.dbid
                      where d.datname = current_database() and query not like '%/* bench:%'),
                    (select xact_commit::float8 from pg_stat_database where datname = current_database())",
        )
        .fetch_one(bench)
        .await?;
        Ok(Reading {
            own: processor(std::process::id())?,
            postgres: self.postgres()?,
            broker: processor(self.broker)?,
            wal_bytes,
            wal_pages,
            statements,
            commits,
        })
    }

    /// The postmaster, those of its children that have ended, and those that have not.
    fn postgres(&self) -> Result<f64> {
        let mut ticks = 0;
        for process in fs::read_dir("/proc")? {
            let Ok(pid) = process?.file_name().to_string_lossy().parse::<u32>() else { continue };
            let Ok(numbers) = numbers(pid) else { continue }; // it has just ended
            if pid == self.postmaster {
                ticks += numbers[PROCESSOR..PROCESSOR + 4].iter().sum::<u32>();
            } else if numbers[PARENT] == self.postmaster {
                ticks += numbers[PROCESSOR..PROCESSOR + 2].iter().sum::<u32>();
            }
        }
        Ok(f64::from(ticks) / TICKS_PER_SECOND)
    }
}

fn processor(pid: u32) -> Result<f64> {
    Ok(f64::from(numbers(pid)?[PROCESSOR..PROCESSOR + 2].iter().sum::<u32>()) / TICKS_PER_SECOND)
}

/// In the numbers of /proc/PID/stat after the state: utime, stime, and the same of its children that have ended.
const PROCESSOR: usize = 10;
const PARENT: usize = 0;

/// Those that are larger, which are not looked at, or negative come as 0.
fn numbers(pid: u32) -> Result<Vec<u32>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Its name may hold anything, and ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    Ok(rest.split_whitespace().skip(1).map(|number| number.parse().unwrap_or_default()).collect())
}

/// MiB that this process has resident.
pub fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("no size")?.parse::<f64>()? / 1024.0)
}
