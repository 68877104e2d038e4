//! `invite`: the token goes into a file and nowhere else; who was invited is seen, and taken back.

use super::*;
use slot_net::Token;
use std::os::unix::fs::PermissionsExt as _;

/// The lines of the PEM blocks in a token, which are strings of a JSON document.
fn secrets(token: &str) -> Vec<&str> {
    token.split("\\n").filter(|line| line.len() > 30 && line.chars().all(|c| !"-:\"{".contains(c))).collect()
}

#[tokio::test]
async fn a_token_is_written_once_and_never_said_or_sent() {
    let (rig, _) = drains().await;
    let (ca, out) = (rig.dir.path().join("cluster"), rig.dir.path().join("imap9.token"));
    let line = format!("slotctl invite host imap9 --ca {} --out {} -m new", ca.display(), out.display());
    rig.script("c1").refuse = Some(Status::failed_precondition("imap9 was retired for good"));
    let ended = run(&rig, &line, None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("retired for good") && !out.exists(), "{}", ended.err);
    rig.script("c1").refuse = None;

    let ended = run(&rig, &line, None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(ended.out.starts_with("imap9 may join within 24 h, once"), "{}", ended.out);
    assert!(ended.out.contains("slotctl invite revoke imap9 -m REASON"), "{}", ended.out);
    let mode = std::fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What was announced is the digest of the certificate in the file, and no more of it.
    let certificate = Token::read(&out).unwrap().certificate();
    {
        let script = rig.script("c1");
        assert_eq!(script.approved.last().unwrap(), &certificate.0.to_vec());
        assert!(script.calls.last().unwrap().starts_with("InviteHost imap9 42 "), "{:?}", script.calls);
    }
    let token = std::fs::read_to_string(&out).unwrap();
    assert!(secrets(&token).len() > 3, "a token has a key and certificates");
    let said = format!("{}{}", ended.out, ended.err);
    assert!(!secrets(&token).iter().any(|line| said.contains(line)), "{said}");

    let calls = rig.script("c1").calls.len();
    let ended = run(&rig, &line, None).await;
    assert_eq!(ended.exit, Exit::Usage, "{}", ended.out);
    assert!(ended.err.contains("is there already") && rig.script("c1").calls.len() == calls, "{}", ended.err);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), token, "it is left as it is");
}

#[tokio::test]
async fn who_was_invited_is_seen_and_taken_back_with_a_reason() {
    let (rig, _) = drains().await;
    let ended = run(&rig, "slotctl invite list", None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(ended.out.starts_with("1 of 4 invitations OPEN"), "{}", ended.out);
    assert!(ended.out.contains("slotctl invite revoke imap9 -m REASON"), "{}", ended.out);
    let ended = run(&rig, "slotctl --output json invite list", None).await;
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&document["schema"], &document["confirmed"]), (&"invitations".into(), &true.into()), "{document}");
    assert_eq!(document["invitations"][0]["fate"]["Burnt"]["incarnation"].as_str().map(str::len), Some(32));

    let ended = run(&rig, "slotctl invite revoke imap9 -m stolen", None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(ended.out.starts_with("the token of imap9 is no good any more"), "{}", ended.out);
    assert!(
        rig.script("c1").calls.iter().any(|call| call.starts_with("RevokeInvitation imap9 42 1 by operator/oncall"))
    );
    rig.script("c1").refuse = Some(Status::failed_precondition("it has joined, and its token is burnt"));
    let ended = run(&rig, "slotctl invite revoke imap7 -m stolen", None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("revoke the invitation of imap7") && ended.err.contains("burnt"), "{}", ended.err);
    let folder = rig.folder("oncall");
    let line = ["slotctl", "invite", "revoke", "imap9", "--folder", folder.to_str().unwrap()];
    assert!(Cli::try_parse_from(line).is_err(), "a reason is asked for");
}
