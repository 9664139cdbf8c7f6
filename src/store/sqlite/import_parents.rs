//! The parents of imported accounts, which may come later in the file than their children: resolved at its end.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use sqlx::SqliteConnection;

use super::failure::failure;
use super::rows::json;
use crate::domain::import::{ImportReport, Problem};
use crate::store::StoreResult;

/// Puts the children under their parents, and reports those that can't be.
pub async fn resolve(connection: &mut SqliteConnection, report: &mut ImportReport) -> StoreResult<()> {
    let some = sqlx::query_scalar("/* import accounts: any parents */ select exists (select 1 from temp.parents)");
    let some: bool = some.fetch_one(&mut *connection).await.map_err(failure)?;
    if !some {
        return Ok(());
    }
    // A parent whose own row has a problem is in the file all the same: the problem is said there.
    let mut unknown = sqlx::query_as::<_, (u64, String)>(
        "/* import accounts: unknown parents */ select t.line, t.parent from temp.parents t
          where t.parent is not null and not exists (select 1 from accounts a where a.number = t.parent)
            and not exists (select 1 from temp.staged s where s.number = t.parent)
          order by t.line",
    )
    .fetch(&mut *connection);
    while let Some((line, parent)) = unknown.try_next().await.map_err(failure)? {
        report.add_problem(Problem::unknown_parent(line, &parent));
    }
    drop(unknown);
    let mut disconnected = sqlx::query_as::<_, (u64, String)>(
        "/* import accounts: disconnected parents */ select t.line, t.parent
           from temp.parents t cross join accounts a on a.number = t.parent
          where a.disconnected_at is not null order by t.line",
    )
    .fetch(&mut *connection);
    while let Some((line, parent)) = disconnected.try_next().await.map_err(failure)? {
        report.add_problem(Problem::parent_disconnected(line, &parent));
    }
    drop(disconnected);
    sqlx::query(
        "/* import accounts: put under parents */ update accounts
            set parent_id = (select p.id from temp.parents t join accounts p on p.number = t.parent
                              where t.child_id = accounts.id)
          where id in (select child_id from temp.parents)",
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    report_cycles(connection, report).await
}

async fn report_cycles(connection: &mut SqliteConnection, report: &mut ImportReport) -> StoreResult<()> {
    // Whoever is below a root is on no cycle. The walk goes down, and so meets each account once at most, however deep
    // the trees are and whatever cycles there are beside them. What is left is on a cycle or below one, and rare.
    let lost: Vec<(i64, i64)> = sqlx::query_as(
        "/* import accounts: cycles */ with recursive below_a_root (id) as (
             select c.id from accounts c join accounts p on p.id = c.parent_id
              where c.parent_id is not null and p.parent_id is null
             union all
             select c.id from below_a_root b join accounts c on c.parent_id = b.id
         )
         select a.id, a.parent_id from accounts a where a.parent_id is not null
            and a.id in (select id from accounts where parent_id is not null except select id from below_a_root)",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let on_cycles: Vec<i64> = on_cycles(&lost.into_iter().collect()).into_iter().collect();
    let lines: Vec<(u64, String)> = sqlx::query_as(
        "/* import accounts: lines of cycles */ select line, number from temp.parents
          where parent is not null and child_id in (select value from json_each(?1)) order by line",
    )
    .bind(json(&on_cycles)?)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    for (line, number) in &lines {
        report.add_problem(Problem::parent_cycle(*line, number));
    }
    Ok(())
}

/// Those that come upon themselves again on their way up. Each account is walked over once.
fn on_cycles(parents: &HashMap<i64, i64>) -> HashSet<i64> {
    let (mut seen, mut found) = (HashSet::new(), HashSet::new());
    for &start in parents.keys() {
        let mut path = Vec::new();
        let mut here = start;
        while seen.insert(here) {
            path.push(here);
            let Some(parent) = parents.get(&here) else {
                path.clear();
                break;
            };
            here = *parent;
        }
        if let Some(again) = path.iter().position(|passed| *passed == here) {
            found.extend(&path[again..]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_on_a_cycle_are_their_own_ancestors() {
        // 1 -> 2 -> 3 -> 1; 4 and 5 hang below; 6 is its own parent.
        let parents = HashMap::from([(1, 2), (2, 3), (3, 1), (4, 1), (5, 4), (6, 6)]);
        assert_eq!(on_cycles(&parents), HashSet::from([1, 2, 3, 6]));
        assert!(on_cycles(&HashMap::from([(1, 2), (2, 9)])).is_empty());
    }
}
