//! Bare and reinstalled hosts join a running cluster with one-time tokens (docs/adr/0024-host-join.md).
//!
//! What always holds: a token is good for one host, once, and only after a person said so; a host that joined serves like any
//! other, and clients lose nothing while it does; no key is in any log.

use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED, USAGE};
use slot_tests::shape::{Shape, host};
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, wait_for, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);

fn mode(path: &Path) -> Outcome<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

/// No program wrote a key, a token or a certificate into its log.
fn logs_are_clean(cluster: &Cluster) -> Outcome<()> {
    let mut read = 0;
    for entry in fs::read_dir(cluster.folder().join("logs"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        assert!(!text.contains("-----BEGIN"), "{} has a secret or a certificate in it", path.display());
        read += text.len();
    }
    assert!(read > 0, "the logs are somewhere else");
    Ok(())
}

/// What became of the invitation of a host.
fn fate(cluster: &Cluster, name: &str) -> Outcome<serde_json::Value> {
    let listed = cluster.look(&["invite", "list"])?;
    let all = listed["invitations"].as_array().ok_or("a list")?;
    let line = all.iter().find(|line| line["host"] == name).ok_or_else(|| format!("{name} is not listed: {listed}"))?;
    Ok(line["fate"].clone())
}

/// alice invites, bob takes it back, and whoever has the file has nothing.
fn a_revoked_token_is_no_good(cluster: &Cluster, n: u8, identity: &Path) -> Outcome<()> {
    let name = host(n);
    let token = cluster.folder().join("revoked.token");
    cluster.invite(n, &token)?.expect(DONE)?;
    assert_eq!(fate(cluster, &name)?, "Open");
    cluster.ctl.run("bob", &["invite", "revoke", &name, "-m", "the file lay about"])?.expect(DONE)?;
    assert_eq!(fate(cluster, &name)?["Revoked"]["by"], "bob");
    let refused = cluster.join(n, &token, identity)?.expect(FAILED)?;
    assert!(refused.stderr.contains("its token was revoked"), "{}", refused.stderr);
    assert!(!identity.join("cert.pem").exists(), "it has no identity");
    Ok(())
}

#[test]
fn a_bare_host_joins_with_a_token_once_and_serves() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape { later: 1, ..Shape::small() })?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    writers.wait_progress()?;
    let (n, name) = (4, host(4));
    let identity = cluster.forget_identity(n)?;
    let token = cluster.folder().join("imap4.token");
    // Signed by the CA, and nobody said that it may: not good.
    let unknown = cluster.folder().join("unknown.token");
    cluster.unknown_token(n, &unknown)?;
    let refused = cluster.join(n, &unknown, &identity)?.expect(FAILED)?;
    assert!(refused.stderr.contains("nobody has invited it"), "{}", refused.stderr);
    a_revoked_token_is_no_good(&cluster, n, &identity)?;
    let said = cluster.invite(n, &token)?.expect(DONE)?.json();
    assert_eq!((said["host"].as_str(), mode(&token)?), (Some(name.as_str()), 0o600));
    cluster.invite(n, &token)?.expect(USAGE)?;
    // Another token of the same host is not the one that was invited with, and another host can't use this one.
    let refused = cluster.join(n, &unknown, &identity)?.expect(FAILED)?;
    assert!(refused.stderr.contains("another token than this one"), "{}", refused.stderr);
    let refused = cluster.join(1, &token, &cluster.folder().join("nobody"))?.expect(FAILED)?;
    assert!(refused.stderr.contains("the token is for imap4"), "{}", refused.stderr);
    cluster.join(n, &token, &identity)?.expect(DONE)?;
    assert_eq!(mode(&identity.join("key.pem"))?, 0o600);
    // The token is burnt: whoever copied the file comes too late.
    let again = cluster.join(n, &token, &cluster.folder().join("thief"))?.expect(FAILED)?;
    assert!(again.stderr.contains("its token was used"), "{}", again.stderr);
    assert!(!cluster.folder().join("thief").exists());
    let audit = cluster.ctl.run("alice", &["audit"])?.expect(DONE)?.stdout;
    for told in ["invite imap4 with token", "revoke token", "is burnt", "refused: imap4 joins with token"] {
        assert!(audit.contains(told), "{told} in {audit}");
    }
    // What was used is burnt, and there is nothing left of it to take back.
    assert!(fate(&cluster, &name)?["Burnt"]["incarnation"].is_string());
    let late = cluster.ctl.run("bob", &["invite", "revoke", &name, "-m", "too late"])?.expect(FAILED)?;
    assert!(late.stderr.contains("its token is burnt"), "{}", late.stderr);
    // It serves: it takes a copy, and then a master.
    assert_eq!(cluster.bare_host_comes()?, n);
    cluster.ctl.change("alice", &["apply", "-f", &cluster.file(), "-m", "room"])?.expect(DONE)?;
    let from = cluster.master_of("store1")?;
    let to = format!("{name}/1");
    cluster.ctl.change("alice", &["move", "slot", &from, "--to", &to, "-m", "use it"])?.expect(DONE)?;
    assert_eq!(cluster.master_of("store1")?.replace("/01", "/1"), to);
    writers.wait_progress()?;
    writers.stop()?;
    logs_are_clean(&cluster)?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn a_reinstalled_host_joins_and_its_copies_are_rebuilt() -> Outcome<()> {
    let mut cluster = Cluster::for_test(Shape { slots: 6, stores: 4, ..Shape::small() })?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    writers.wait_progress()?;
    let (n, name) = (2, host(2));
    let held = cluster.engines(n).len();
    assert!(held > 0, "{name} has copies");
    cluster.ctl.change("alice", &["drain", "host", &name, "-m", "to be installed anew"])?.expect(DONE)?;
    cluster.kill_host(n)?;
    fs::remove_dir_all(cluster.host_folder(n))?;
    let identity = cluster.forget_identity(n)?;
    let token = cluster.folder().join("imap2.token");
    cluster.invite(n, &token)?.expect(DONE)?;
    // The leader is gone meanwhile: whoever leads next knows of the invitation.
    let leader = cluster.leader()?;
    cluster.kill_coordinator(leader)?;
    cluster.join(n, &token, &identity)?.expect(DONE)?;
    cluster.start_coordinator(leader)?;
    cluster.restart_host(n)?;
    // S2: the disk it joined with is its disk; nobody has to admit it by a second word.
    wait_until("the host is heard with its new disk", AT_LAST, || {
        cluster
            .look(&["show", "host", &name])
            .is_ok_and(|view| view["seen"]["Known"]["value"].is_string() && view["quarantined"].is_null())
    })?;
    let audit = cluster.ctl.run("alice", &["audit"])?.expect(DONE)?.stdout;
    assert!(audit.contains("is admitted"), "{audit}");
    cluster.ctl.change("alice", &["undrain", "host", &name, "-m", "it is back"])?.expect(DONE)?;
    let rebuild = ["rebuild", "host", &name, "-m", "it is back"];
    cluster.ctl.change("alice", &rebuild)?.expect(DONE)?;
    assert_eq!(cluster.engines(n).len(), held, "as many copies as before");
    let again = wait_for("nothing is left to rebuild", AT_LAST, || {
        cluster.ctl.json("alice", &rebuild).ok().filter(|said| said.code == DONE)
    })?;
    assert!(again.json()["nothing_to_do"].is_string(), "{again:?}");
    cluster.wait_served()?;
    writers.wait_progress()?;
    writers.stop()?;
    logs_are_clean(&cluster)?;
    verify(&writers)?.must_be_in_order()
}
