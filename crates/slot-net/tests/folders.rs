//! Making a cluster's folders, and reading them back only when they are safe to use.

use slot_net::{Ca, CaError, FolderError, Identity, IdentityFolder, Role, ca, init_cluster};
use slot_types::ids::{ClientName, ClusterName, CoordinatorName, HostName, OperatorName};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn make(dir: &Path, operators: &[&str]) -> Result<slot_net::Initialized, CaError> {
    let operators: Vec<_> = operators.iter().map(|name| OperatorName::new(*name).unwrap()).collect();
    init_cluster(
        dir,
        &ClusterName::new("fm1").unwrap(),
        &BTreeMap::from([(CoordinatorName::new("c1").unwrap(), "127.0.0.1:7001".parse().unwrap())]),
        &[HostName::new("imap3").unwrap()],
        &[],
        &operators,
        &[ClientName::new("w1").unwrap()],
    )
}

/// Every file below, with what it holds.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_cluster_has_one_folder_for_each_and_the_ca_key_stays_in_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let made = make(dir.path(), &["alice", "bob"]).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["agent-imap3", "ca", "client-w1", "coordinator-c1", "operator-alice", "operator-bob"]);
    for path in contents(dir.path()).keys() {
        assert_eq!(mode(path), 0o600, "{}", path.display());
        assert_eq!(mode(path.parent().unwrap()), 0o700, "{}", path.display());
        assert_eq!(path.ends_with("ca-key.pem"), path.file_name().unwrap() == "ca-key.pem");
    }
    let keys = contents(dir.path()).keys().filter(|path| path.ends_with("ca-key.pem")).count();
    assert_eq!(keys, 1);
    for (path, identity) in &made.folders {
        let folder = IdentityFolder::load(path).unwrap();
        assert_eq!(folder.identity(), identity);
        assert_eq!(folder.membership(), &made.membership);
        let left = folder.expires().duration_since(SystemTime::now()).unwrap();
        assert!(left <= ca::LEAF_VALIDITY && left > ca::LEAF_VALIDITY / 2, "{left:?}");
        assert!(!format!("{folder:?}").contains("PRIVATE"));
    }
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["alice", "bob"]).unwrap();
    let before = contents(dir.path());
    let refused = make(dir.path(), &["alice", "bob", "carol"]).unwrap_err();
    assert!(matches!(refused, CaError::CaExists { .. }), "{refused}");
    assert_eq!(contents(dir.path()), before);
    // The same when only an identity of an earlier cluster is left.
    fs::rename(dir.path().join("ca"), dir.path().join("moved")).unwrap();
    let before = contents(dir.path());
    let refused = make(dir.path(), &["alice", "bob"]).unwrap_err();
    assert!(matches!(refused, CaError::Folder(FolderError::Exists { .. })), "{refused}");
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn fewer_than_two_people_cannot_run_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    for operators in [&[][..], &["alice"], &["alice", "alice"]] {
        assert!(matches!(make(dir.path(), operators), Err(CaError::Operators { .. })), "{operators:?}");
    }
    assert!(contents(dir.path()).is_empty());
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["alice", "bob"]).unwrap();
    let folder = dir.path().join("agent-imap3");
    for open in [0o644, 0o640, 0o604] {
        fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(open)).unwrap();
        let refused = IdentityFolder::load(&folder).unwrap_err().to_string();
        assert!(refused.contains(&format!("{open:04o}")) && refused.contains("chmod 600"), "{refused}");
    }
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    IdentityFolder::load(&folder).unwrap();
    fs::set_permissions(dir.path().join("ca/ca-key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Ca::load(dir.path()).is_err());
}

#[test]
fn a_later_identity_is_of_the_same_cluster_and_replaces_none() {
    let dir = tempfile::tempdir().unwrap();
    let made = make(dir.path(), &["alice", "bob"]).unwrap();
    let ca = Ca::load(dir.path()).unwrap();
    let imap9 = Identity::new(Role::Agent, "imap9").unwrap();
    let path = dir.path().join(imap9.folder_name());
    ca.make_identity_folder(&path, &imap9).unwrap();
    let folder = IdentityFolder::load(&path).unwrap();
    assert_eq!((folder.identity(), folder.membership()), (&imap9, &made.membership));
    let before = contents(&path);
    assert!(ca.make_identity_folder(&path, &imap9).is_err());
    assert_eq!(contents(&path), before);
}

#[test]
fn a_folder_with_a_broken_file_is_refused_naming_it() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["alice", "bob"]).unwrap();
    let folder = dir.path().join("client-w1");
    for file in ["ca.pem", "cert.pem", "cluster.json"] {
        let path = folder.join(file);
        let right = fs::read(&path).unwrap();
        for wrong in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "{}"] {
            fs::write(&path, wrong).unwrap();
            if file != "ca.pem" || !wrong.contains("BEGIN") {
                let refused = IdentityFolder::load(&folder).unwrap_err().to_string();
                assert!(refused.contains(file), "{refused}");
            }
        }
        fs::write(&path, right).unwrap();
    }
    IdentityFolder::load(&folder).unwrap();
}
