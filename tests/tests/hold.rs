//! Hands off: what a person holds is not touched before it is released (docs/adr/0019).
//!
//! What always holds: who holds it, why and what ends it is said wherever it is in the way; nothing acknowledged is lost.

use slot_tests::cluster::Cluster;
use slot_tests::ctl::DONE;
use slot_tests::shape::Shape;
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, engines, wait_for, wait_until};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);
/// Longer than everyday recovery rests between its first tries.
const WATCHED: Duration = Duration::from_secs(8);

#[test]
fn a_held_store_is_neither_drained_nor_started_again_before_its_release() -> Outcome<()> {
    let cluster = Cluster::for_test(Shape::small())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let routes = writers.routes();
    let slot = cluster.master_of("store1")?;
    let host = slot.split('/').next().unwrap_or_default().to_string();
    let said = cluster.ctl.json("bob", &["hold", "store", "store1", "-m", "its disk is looked at"])?.expect(DONE)?;
    assert_eq!((&said.json()["done"], &said.json()["subject"]), (&"hold".into(), &"store store1".into()), "{said:?}");
    // While a replica is still to hear its master, that is what is said first.
    let words = wait_for("the drain is refused for the hold", AT_LAST, || {
        let refused = cluster.ctl.run("alice", &["drain", "host", &host, "-m", "new fan"]).ok()?;
        assert_eq!(refused.code, 1, "{refused:?}");
        let words = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        words.contains("held by bob").then_some(words)
    })?;
    for part in ["held by bob", "its disk is looked at", "slotctl release store store1 -m REASON"] {
        assert!(words.contains(part), "{part}: {words}");
    }

    engines::kill(&cluster.engine_on(&slot)?)?;
    let end = std::time::Instant::now() + WATCHED;
    while std::time::Instant::now() < end {
        assert!(cluster.engine_on(&slot).is_err(), "it is held and was started again");
        std::thread::sleep(Duration::from_millis(200));
    }
    let status = cluster.look(&["status"])?;
    assert_eq!(status["holds"][0]["by"], "bob", "{status}");
    assert_eq!(status["needs_you"][0]["next"], "slotctl release store store1 -m REASON", "{status}");
    assert_eq!(cluster.look(&["show", "store", "store1"])?["holds"][0]["on"], "store store1");

    cluster.ctl.run("alice", &["release", "store", "store1", "-m", "bob is done"])?.expect(DONE)?;
    wait_until("its engine is started again", AT_LAST, || cluster.engine_on(&slot).is_ok())?;
    cluster.wait_served()?;
    writers.wait_progress()?;
    assert_eq!(writers.routes(), routes, "the same master, the same epoch");
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}
