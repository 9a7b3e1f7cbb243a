//! What is read on SQLite before another transaction is written and committed.

use sea_orm::Database;

use super::*;

#[tokio::test]
async fn what_was_read_ahead_holds_unless_another_process_has_written() {
    let (folder, repository) = repository().await;
    let url = format!("sqlite://{}", folder.path().join("disputes.db").display());
    let another = Database::connect(url).await.unwrap();
    write(&repository, &Changes { new_orders: vec![order("o1"), order("o2")], ..Changes::default() }).await.unwrap();
    let change =
        |id: &str, revision| Changes { changed_orders: vec![Order { revision, ..order(id) }], ..Changes::default() };
    let both = BTreeSet::from(["o1", "o2"].map(|id| OrderId::parse(id).unwrap()));
    for (revision, others_write) in [(2, false), (3, true), (4, false)] {
        let mut before = repository.begin().await.unwrap();
        let version = before.version().await.unwrap();
        let mut ahead = repository.begin_ahead().await.unwrap();
        let read = ahead.lock_aggregates(&both, &[], &[], &[]).await.unwrap().aggregates;
        assert!(read.iter().all(|aggregate| aggregate.order.revision < revision), "what is not committed is not seen");
        before.commit(change("o1", revision)).await.unwrap();
        if others_write {
            another.execute_unprepared("UPDATE orders SET title = 'Two logos'").await.unwrap();
        }
        // It holds although this process has committed meanwhile.
        assert_eq!(ahead.start_writing(version).await, Ok(!others_write), "revision {revision}");
        let read = ahead.lock_aggregates(&both, &[], &[], &[]).await.unwrap().aggregates;
        assert!(read.iter().any(|aggregate| aggregate.order.revision == revision), "from here on it is seen");
        ahead.commit(change("o2", revision)).await.unwrap();
        assert_eq!(read_order(&repository, "o2").await.unwrap().revision, revision);
    }
}

#[tokio::test]
async fn what_is_read_ahead_and_dropped_is_in_nobodys_way() {
    let (_folder, repository) = repository().await;
    for _ in 0..20 {
        drop(repository.begin_ahead().await.unwrap());
        write(&repository, &Changes::default()).await.unwrap();
    }
}
