//! Hosts that join with a one-time token, as an operator and the host's own administrator would do it.

use crate::Outcome;
use crate::cluster::Cluster;
use crate::ctl::Said;
use crate::shape::host;
use crate::wire::Caller;
use slot_net::{Ca, Dialer, Token};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

impl Cluster {
    /// Where `init` put the CA and everybody's folders.
    fn authority(&self) -> PathBuf {
        self.folder().join("identities")
    }

    /// `slotctl invite host` by alice, with the CA; the token goes into `file`.
    pub fn invite(&self, n: u8, file: &Path) -> Outcome<Said> {
        let (ca, out) = (self.authority().display().to_string(), file.display().to_string());
        self.ctl.json("alice", &["invite", "host", &host(n), "--ca", &ca, "--out", &out, "-m", "a machine"])
    }

    /// `slot-agent join` on host `n`, whose identity folder is made at `folder`.
    pub fn join(&self, n: u8, token: &Path, folder: &Path) -> Outcome<Said> {
        let mut command = Command::new(&self.programs().agent);
        command.args(["join", "--timeout", "60", "--token"]).arg(token);
        command.arg("--config").arg(self.agent_config(n)?).arg("--folder").arg(folder);
        let output = command.env_remove("SLOT_FAILPOINTS").stdin(Stdio::null()).output()?;
        Ok(Said {
            command: format!("{}$ slot-agent join", host(n)),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Host `n` has lost who it is: the identity that `init` made is gone, and its agent needs another.
    pub fn forget_identity(&self, n: u8) -> Outcome<PathBuf> {
        let folder = self.identity(&format!("agent-{}", host(n)));
        fs::remove_dir_all(&folder)?;
        Ok(folder)
    }

    /// A token that the cluster was never told of, signed by its CA all the same.
    pub fn unknown_token(&self, n: u8, file: &Path) -> Outcome<()> {
        Ok(Ca::load(&self.authority())?.make_token(&host(n).parse()?)?.write(file)?)
    }

    /// Whoever has a token, as a caller of anything.
    pub fn holder_of(&self, token: &Path) -> Outcome<Caller> {
        let folder = Token::read(token)?.folder().clone();
        let coordinators = folder.membership().coordinators.iter().map(|(name, at)| (name.to_string(), *at)).collect();
        Ok(Caller { dialer: Dialer::new(folder), coordinators })
    }
}
