//! Connections to a SQLite file without sqlx.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use sea_orm::Statement;

use super::*;
use crate::repository::transaction::FileWriter;

fn file(repository: &Repository) -> &FileWriter {
    repository.writer.file.as_ref().unwrap()
}

/// What `insert` has left behind.
fn inserted(file: &rusqlite::Connection) -> rusqlite::Result<i64> {
    file.query_row("SELECT count(*) FROM write_probe WHERE id = 7", [], |row| row.get(0))
}

fn insert(file: &rusqlite::Connection) -> rusqlite::Result<usize> {
    file.execute("INSERT INTO write_probe (id, writes) VALUES (7, 0)", [])
}

#[tokio::test]
async fn it_has_the_settings_of_the_connections_of_sqlx() {
    let (_folder, repository) = repository().await;
    for pragma in ["synchronous", "foreign_keys", "busy_timeout", "journal_mode"] {
        let ask = format!("PRAGMA {pragma}");
        let statement = Statement::from_string(DbBackend::Sqlite, &ask);
        let row = repository.writer.pool.connections().query_one_raw(statement).await.unwrap().unwrap();
        let by_sqlx =
            row.try_get_by_index::<String>(0).or_else(|_| row.try_get_by_index(0).map(|n: i64| n.to_string()));
        let asked = |file: &rusqlite::Connection| {
            let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            match file.query_row(&ask, [], value).unwrap() {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => panic!("{other:?}"),
            }
        };
        for connection in [&file(&repository).connection, &file(&repository).ahead] {
            assert_eq!(Ok(connection.with(asked).unwrap()), by_sqlx.clone().map_err(|_| ()), "{pragma}");
        }
    }
}

#[tokio::test]
async fn after_sqlite_has_rolled_back_by_itself_nothing_more_is_done_in_a_transaction() {
    let (_folder, repository) = repository().await;
    let mut transaction = file(&repository).connection.begin().await.unwrap();
    transaction.run(insert).await.unwrap();
    transaction.run(|file| file.execute_batch("ROLLBACK")).await.unwrap();
    let refused = transaction.run(insert).await;
    assert!(matches!(refused, Err(StorageError::Unavailable(_))), "{refused:?}");
    assert!(transaction.commit().await.is_err());
    let mut next = file(&repository).connection.begin().await.unwrap();
    assert_eq!(next.run(inserted).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_nobody_waits_for_is_done_and_rolled_back_before_the_next_transaction() {
    let (_folder, repository) = repository().await;
    let mut transaction = file(&repository).connection.begin().await.unwrap();
    let begun = Arc::new(Barrier::new(2));
    let step = {
        let begun = begun.clone();
        move |file: &rusqlite::Connection| {
            insert(file)?;
            begun.wait();
            begun.wait();
            Ok(())
        }
    };
    let dropped = tokio::spawn(async move { transaction.run(step).await });
    tokio::task::block_in_place(|| begun.wait());
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let early = tokio::time::timeout(Duration::from_millis(20), repository.begin()).await;
    assert!(early.is_err(), "it has its turn until it is done");
    tokio::task::block_in_place(|| begun.wait());
    let mut next = file(&repository).connection.begin().await.unwrap();
    assert_eq!(next.run(inserted).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permit_and_the_tailer_have_a_connection() {
    let (_folder, repository) = repository().await;
    let in_place = repository.dispute_reads.in_place().unwrap();
    let mut readers = Vec::new();
    for class in [ReadClass::Single, ReadClass::List, ReadClass::Stream] {
        for number in 0..9 {
            let caller = Caller { user: UserId::parse(&format!("c{number}")).unwrap(), scope: None };
            if let Ok(reader) = tokio::time::timeout(Duration::from_millis(5), repository.reader(class, &caller)).await
            {
                readers.push(reader.unwrap());
            }
        }
    }
    assert_eq!(readers.len(), 8);
    let all = Arc::new(Barrier::new(readers.len() + 1));
    let wait = || {
        let all = all.clone();
        move |_: &rusqlite::Connection| {
            all.wait();
            Ok(())
        }
    };
    let reads = readers.iter().map(|reader| in_place.read_elsewhere(reader.permit.clone(), wait()));
    let reads = futures_util::future::join_all(reads);
    assert_eq!(tokio::join!(reads, in_place.read_elsewhere((), wait())), (vec![Ok(()); 8], Ok(())));
}

#[tokio::test]
async fn what_was_read_ahead_does_not_hold_after_pruning() {
    let (_folder, repository) = repository().await;
    let mut before = repository.begin().await.unwrap();
    let version = before.version().await.unwrap();
    before.commit(Changes::default()).await.unwrap();
    let maintenance = repository.begin_maintenance().await.unwrap();
    maintenance.inner.execute_unprepared("UPDATE write_probe SET writes = writes + 1").await.unwrap();
    maintenance.commit().await.unwrap();
    let mut ahead = repository.begin_ahead().await.unwrap();
    assert_eq!(ahead.start_writing(version).await, Ok(false));
}
