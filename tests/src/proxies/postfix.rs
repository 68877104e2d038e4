//! Postfix: an instance of its own, whose transport map is rendered by a front end's agent.
//!
//! What always holds: its master is ended by the number in its own queue folder, and with it its daemons; it accepts mail for the
//! cluster's stores alone, and tries what waits in its queue again every second.

use super::mail::SINK_PORT;
use crate::cluster::Cluster;
use crate::{AT_LAST, Outcome, wait_until};
use slot_net::process::{ProcessIdentity, kill_and_wait, terminate};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where Debian puts it.
pub const PROGRAM: &str = "/usr/sbin/postfix";
/// Looks things up as its daemons do.
pub const POSTMAP: &str = "/usr/sbin/postmap";
/// The shipped template.
const TEMPLATE: &str = include_str!("../../../crates/slot-agent/src/front_end/templates/postfix-transport.j2");
const END_LIMIT: Duration = Duration::from_secs(30);

/// One Postfix that runs.
#[derive(Debug)]
pub struct Postfix {
    folder: TempDir,
    at: SocketAddr,
    child: Child,
}

impl Postfix {
    /// Starts one for front end `n`; its maps are empty until the front end's agent has rendered them.
    pub fn start(cluster: &Cluster, n: u8) -> Outcome<Self> {
        // Its daemons give up being root, so their folders must be open to others.
        let folder = tempfile::Builder::new().prefix("slot-postfix-").tempdir()?;
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        let at = SocketAddr::from((Ipv4Addr::new(127, cluster.block().x(), 200, n + 100), 2525));
        for name in ["etc", "queue"] {
            fs::create_dir(path.join(name))?;
        }
        let stores: Vec<String> = (1..=cluster.shape.stores).map(|n| format!("store{n}")).collect();
        fs::write(path.join("etc/main.cf"), main_cf(&path.display().to_string(), &stores.join(" ")))?;
        fs::write(
            path.join("etc/master.cf"),
            MASTER_CF.replace("AT ", &format!("{at} ")).replace("QUEUEING", &queueing(at).to_string()),
        )?;
        for empty in ["transport", "delivery", "etc/dynamicmaps.cf"] {
            File::create(path.join(empty))?;
        }
        // Where journals listen, nobody speaks LMTP: mail goes to the sinks beside them, by the shipped template otherwise.
        let delivery = TEMPLATE.replace("{{ store.port }}", &SINK_PORT.to_string());
        assert_ne!(delivery, TEMPLATE, "the template names the store's port");
        fs::write(path.join("delivery.j2"), delivery)?;
        let log = File::create(path.join("start.log"))?;
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(path.join("etc")).arg("start-fg");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let postfix = Self { at, child: command.spawn()?, folder };
        wait_until("Postfix accepts mail", AT_LAST, || std::net::TcpStream::connect(postfix.at).is_ok()).map_err(
            |error| {
                let said = fs::read_to_string(postfix.folder.path().join("start.log")).unwrap_or_default();
                format!("{error}; it said: {said}")
            },
        )?;
        Ok(postfix)
    }

    /// Where it takes mail.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// Where it takes mail into its queue whatever its transport says.
    pub fn queueing(&self) -> SocketAddr {
        queueing(self.at)
    }

    /// Its two maps, as the front end's file describes them: the shipped one, and the one that it delivers by.
    pub fn maps(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "[map.postfix-transport]\npath = \"{folder}/transport\"\n\n\
             [map.delivery]\npath = \"{folder}/delivery\"\ntemplate = \"{folder}/delivery.j2\"\n\
             reload = [\"{PROGRAM}\", \"-c\", \"{folder}/etc\", \"reload\"]\n"
        )
    }

    /// What Postfix's own lookup says of a store in the shipped map; empty when it is not in it.
    pub fn transport(&self, store: &str) -> Outcome<String> {
        let mut command = Command::new(POSTMAP);
        command.arg("-c").arg(self.folder.path().join("etc")).args(["-q", store]);
        command.arg(format!("texthash:{}", self.folder.path().join("transport").display()));
        let said = command.stdin(Stdio::null()).output()?;
        if !said.stderr.is_empty() {
            return Err(format!("postmap: {}", String::from_utf8_lossy(&said.stderr)).into());
        }
        Ok(String::from_utf8(said.stdout)?.trim().to_owned())
    }

    /// What it logged, for a failure's message.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("mail.log")).unwrap_or_default()
    }

    fn master(&self) -> Outcome<ProcessIdentity> {
        let path: PathBuf = self.folder.path().join("queue/pid/master.pid");
        Ok(ProcessIdentity::of(fs::read_to_string(path)?.trim().parse()?)?)
    }

    fn end(&mut self) -> Outcome<()> {
        if let Ok(master) = self.master() {
            // It ends its daemons when it is asked to, and not when it is killed.
            terminate(&master)?;
            let ended = || slot_net::process::is_alive(&master).is_ok_and(|alive| !alive);
            if wait_until("Postfix has ended", END_LIMIT, ended).is_err() {
                kill_and_wait(&master, END_LIMIT)?;
            }
        } else {
            self.child.kill()?;
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("Postfix in {} was not ended: {error}", self.folder.path().display());
        }
        if std::thread::panicking() {
            eprintln!("what Postfix logged: {}", self.log());
        }
    }
}

fn queueing(at: SocketAddr) -> SocketAddr {
    (at.ip(), at.port() + 1).into()
}

fn main_cf(folder: &str, stores: &str) -> String {
    format!(
        "compatibility_level = 3.6\nqueue_directory = {folder}/queue\ndata_directory = {folder}/data\n\
         maillog_file = {folder}/mail.log\nmaillog_file_prefixes = {folder}\nmyhostname = fe.test\n\
         inet_interfaces = loopback-only\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nmydestination =\n\
         alias_maps =\nrelay_domains = {stores}\nappend_dot_mydomain = no\ntransport_maps = texthash:{folder}/delivery\n\
         smtp_host_lookup = native\nlmtp_host_lookup = native\ndisable_dns_lookups = yes\n\
         minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\ntransport_retry_time = 1s\n"
    )
}

const MASTER_CF: &str = "\
AT inet n - n - - smtpd
QUEUEING inet n - n - - smtpd -o smtpd_reject_unlisted_recipient=no
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";
