//! The command line.
//!
//! What always holds: every name, slot, number and digest is checked before anything is dialled; every command that
//! changes something asks for a reason with `-m`.

mod asks;
mod drain;
mod explain;
mod failover;
mod hold;
mod invite;
mod loss;
mod offline;
mod rebalance;
mod retire;
mod verify;

pub use asks::{Anywhere, Ask, Input, Survive, Whatif};
pub use drain::{Drain, DrainHow};
pub use explain::{ExplainOf, PlanOf};
pub use failover::{Classes, Failover, Mass};
pub use hold::Hold;
pub use invite::Invite;
pub use loss::Loss;
pub use offline::{Budget, Files, Format, Offline};
pub use rebalance::{Bounds, Fill};
pub use retire::Retire;
pub use verify::Verify;

use crate::since::{Noted, Since};
use clap::{Args, Parser, Subcommand, ValueEnum};
use slot_types::cluster::Domain;
use slot_types::ids::*;
use slot_types::position::ShortDigest;
use slot_types::view::NamePattern;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where a coordinator listens when its address names no port.
pub const COORDINATOR_PORT: u16 = 7400;
/// The most characters of a reason.
pub const REASON_LENGTH_MAX: usize = 500;

/// The operator's hand: shows a cluster, plans changes, and carries them out when a person says yes.
#[derive(Debug, Parser)]
#[command(name = "slotctl", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 an approval is needed, 4 stopped \
                        part way.\nOn a terminal a plan is shown and asked; elsewhere it is printed with the command \
                        that approves it.")]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// For every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Who you are: the identity folder that `init` made for you. Without it, $SLOT_FOLDER.
    #[arg(long, global = true, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Ask this coordinator first: its name, its address, or NAME=ADDRESS. For `init`: each coordinator's NAME=ADDRESS.
    #[arg(long, global = true, value_name = "COORDINATOR", value_delimiter = ',')]
    pub coordinator: Vec<String>,
    /// How long to go on trying when no coordinator answers.
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person, at most 100 columns.
    Text,
    /// One JSON document on stdout; errors as JSON on stderr.
    Json,
}

/// For every command that changes something.
#[derive(Clone, Debug, Args)]
pub struct Change {
    /// Why; kept in the audit.
    #[arg(short = 'm', long = "message", value_name = "REASON", value_parser = reason)]
    pub message: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new cluster: its certificate authority, and an identity folder for everybody.
    Init(Init),
    /// Make the fleet as a cluster file says; shows the plan first. The same file twice does nothing.
    Apply {
        /// The cluster file.
        #[arg(short = 'f', long = "file", value_name = "FILE")]
        file: PathBuf,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// The verdict, then what needs you.
    Status {
        /// Say it with the exit code too: 0 nothing needs you, 1 something does.
        #[arg(long)]
        check: bool,
        /// Take any coordinator's answer, even when it can't be confirmed.
        #[arg(long)]
        stale: bool,
    },
    /// One host, store or slot.
    #[command(subcommand)]
    Show(Show),
    /// Every host: what is on it, how far behind its replicas are, and what its loss would do.
    Hosts,
    /// Stores: where each master is, how many copies live, how far behind and how lately verified its replicas are.
    Stores(Stores),
    /// Slots: what is committed to each and what is seen there.
    Slots(Slots),
    /// What the loss of one host or of one rack would do now. Without a name: the worst of each, and all of them.
    #[command(args_conflicts_with_subcommands = true)]
    Risk {
        /// Of what.
        #[command(subcommand)]
        of: Option<Risk>,
    },
    /// The fleet as it would be after a change that nobody makes.
    #[command(subcommand)]
    Whatif(Whatif),
    /// How many more stores fit while one host or one rack may still be lost.
    Capacity(Ask),
    /// Which hosts may be down together with every store still on a live copy.
    ServiceGroups,
    /// Save the cluster as it is now, to be asked and planned for without it: slotctl offline.
    Snapshot {
        /// Where to.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Everything seen of a host, by whom and how long ago, before you call it dead.
    #[command(subcommand)]
    Evidence(Evidence),
    /// Why a master is where it is, and why each other copy was not chosen or would not be.
    #[command(subcommand)]
    Explain(Explain),
    /// Compare replicas with their masters, record by record, as both disks have them; names what differs.
    #[command(subcommand)]
    Verify(Verify),
    /// Masters off, engines stopped: safe to switch off. No data is copied, unless it is to be emptied.
    #[command(subcommand)]
    Drain(Drain),
    /// Build a copy on another slot, then destroy it where it was; a master goes along.
    #[command(subcommand)]
    Move(Move),
    /// As many whole copies as the cluster file asks for: lost ones built anew, surplus ones destroyed.
    #[command(subcommand)]
    Rebuild(Rebuild),
    /// Make the hosts even: move copies and masters.
    Rebalance {
        /// How far to go.
        #[command(flatten)]
        budget: Bounds,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Give a host that came back, or is new, its fair share of copies and masters; nothing else moves.
    #[command(subcommand)]
    Fill(Fill),
    /// Say that something is gone for good.
    #[command(subcommand)]
    Retire(Retire),
    /// Start the replicas of a drained host again and hand the same masters back.
    #[command(subcommand)]
    Undrain(OnHost),
    /// Another master: planned while the present one is well, else with a sheet of what may be lost.
    #[command(subcommand)]
    Failover(Failover),
    /// Give your word that a host is off. It expires, and any sign of life voids it.
    #[command(subcommand)]
    Off(Off),
    /// Make a one-time token with which a bare host joins, good for a day; list and revoke them.
    #[command(subcommand)]
    Invite(Invite),
    /// Admit a host's new disk.
    #[command(subcommand)]
    Admit(Admit),
    /// Hands off: nothing that touches it starts before it is released. What runs goes on.
    #[command(subcommand)]
    Hold(Hold),
    /// End a hold.
    #[command(subcommand)]
    Release(Hold),
    /// Plans: list, show, approve, reject, abort, watch.
    #[command(subcommand)]
    Plan(Plan),
    /// Loss cases: list, show, reinject, discard.
    #[command(subcommand)]
    Loss(Loss),
    /// What happened, when and who did it: the last events, or all since a time or an entry.
    Events {
        /// Since when: 10:02, 2026-11-24, "2026-11-24 10:02" (all UTC), 2h ago, or from an entry's number on.
        #[arg(long, value_name = "TIME|NUMBER")]
        since: Option<Since>,
        /// Go on and print every event as it happens; as JSON, one document a line.
        #[arg(long)]
        follow: bool,
    },
    /// Who did what, as a chain of hashes.
    #[command(args_conflicts_with_subcommands = true)]
    Audit {
        /// What to do with it; without it, a part of it is shown.
        #[command(subcommand)]
        what: Option<Audit>,
        /// Only entries with a higher number than this.
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        after: u64,
        /// At most so many entries.
        #[arg(long, default_value_t = 200, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// The coordinators' state in a file, for slotd restore.
    Backup {
        /// The file; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Plan for a fleet in a file: nothing is dialled.
    #[command(subcommand)]
    Offline(Offline),
    /// Print a shell's completions: slotctl completions bash > /etc/bash_completion.d/slotctl
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command.
    Man {
        /// Where to.
        dir: PathBuf,
    },
    /// Where clients of every store must go.
    Routes {
        /// Go on and print every change; as JSON, one document a line.
        #[arg(long)]
        watch: bool,
    },
}

/// Who is in a new cluster.
#[derive(Debug, Args)]
pub struct Init {
    /// Where to put the folders. The CA's key stays in DIR/ca; the others go to their machines and people.
    pub dir: PathBuf,
    /// Take the cluster's name, coordinators and hosts from a cluster file.
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with_all = ["cluster", "agent"])]
    pub file: Option<PathBuf>,
    /// The cluster's name.
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    pub cluster: Option<ClusterName>,
    /// A host that will run an agent; once for each.
    #[arg(long, value_name = "HOST", num_args = 1..)]
    pub agent: Vec<HostName>,
    /// A person; two at least, three where policy asks for two people besides the one who asks.
    #[arg(long, value_name = "NAME", required = true, num_args = 1..)]
    pub operator: Vec<OperatorName>,
    /// A client of stores; once for each.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub client: Vec<ClientName>,
}

/// What to show.
#[derive(Debug, Subcommand)]
pub enum Show {
    /// A host and its slots.
    Host {
        /// Which.
        host: HostName,
    },
    /// A store and its copies.
    Store {
        /// Which.
        store: StoreName,
    },
    /// A slot and the store on it.
    Slot {
        /// Which, `imap3/07`.
        slot: SlotId,
    },
}

/// What to move.
#[derive(Debug, Subcommand)]
pub enum Move {
    /// The copy on a slot.
    Slot {
        /// Which, `imap3/07`.
        slot: SlotId,
        /// Where to; chosen when not given.
        #[arg(long, value_name = "SLOT")]
        to: Option<SlotId>,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}

/// Whose copies to put right.
#[derive(Debug, Subcommand)]
pub enum Rebuild {
    /// Those of one store.
    Store {
        /// Which.
        store: StoreName,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Those of every store that has a copy on a host.
    Host {
        /// Which.
        host: HostName,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Those of all stores.
    All {
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}

/// Which stores.
#[derive(Debug, Args)]
pub struct Stores {
    /// Only those with a copy on this host.
    #[arg(long, value_name = "HOST")]
    pub host: Option<HostName>,
    /// Only those that are not served now.
    #[arg(long)]
    pub not_served: bool,
    /// Only those with a name like this; `*` stands for any characters.
    #[arg(long, value_name = "PATTERN")]
    pub store: Option<NamePattern>,
}

/// Which slots.
#[derive(Debug, Args)]
pub struct Slots {
    /// Only those of this host.
    #[arg(long, value_name = "HOST")]
    pub host: Option<HostName>,
    /// Only those with no copy on them that no plan has reserved.
    #[arg(long)]
    pub free: bool,
}

/// Of what.
#[derive(Debug, Subcommand)]
pub enum Evidence {
    /// A host.
    Host {
        /// Which.
        host: HostName,
    },
}

/// What to explain.
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// Every choice of a plan, with the evidence it was made on.
    Plan {
        /// Which, `p17`.
        plan: PlanId,
    },
    /// A store as it is now.
    Store {
        /// Which.
        store: StoreName,
    },
    /// A slot, and the store on it as it is now.
    Slot {
        /// Which, `imap3/07`.
        slot: SlotId,
    },
}

/// What to do with the audit.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Read all of it and compute every hash again, here. Exit 1 names the first entry that does not fit.
    Verify {
        /// An entry's hash as it was noted before: proves that nothing up to it was changed since.
        #[arg(long, value_name = "NUMBER=HASH")]
        noted: Option<Noted>,
        /// Take the copy of any coordinator, that of --coordinator first, instead of the leader's.
        #[arg(long)]
        stale: bool,
    },
}

/// Whose loss.
#[derive(Debug, Subcommand)]
pub enum Risk {
    /// One host's.
    Host {
        /// Which.
        host: HostName,
    },
    /// That of every host in a failure domain, `ny/r1`, or below it, `ny`.
    Domain {
        /// Which.
        #[arg(value_parser = domain)]
        domain: Domain,
    },
}

/// A change of a host.
#[derive(Debug, Subcommand)]
pub enum OnHost {
    /// A host.
    Host {
        /// Which.
        host: HostName,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}

/// A person's word.
#[derive(Debug, Subcommand)]
pub enum Off {
    /// A host.
    Host {
        /// Which.
        host: HostName,
        /// How you know: "unplugged", "power button, LEDs dark".
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        how: String,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}

/// What to admit.
#[derive(Debug, Subcommand)]
pub enum Admit {
    /// A host whose disk was replaced or wiped on purpose.
    Host {
        /// Which.
        host: HostName,
        /// The disk's incarnation, as `show host` prints it.
        #[arg(long, value_name = "HEX")]
        incarnation: Incarnation,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}

/// Plans.
#[derive(Debug, Subcommand)]
pub enum Plan {
    /// All that are remembered.
    List,
    /// One, as it is approved, and how far it is.
    Show {
        /// Which, `p17`.
        plan: PlanId,
    },
    /// Say yes to exactly what was shown.
    Approve {
        /// Which, `p17`.
        plan: PlanId,
        /// The digest shown with it, `9f3c-41d0-77ab-e215`.
        #[arg(long, value_name = "DIGEST")]
        digest: ShortDigest,
        /// The host that the plan switches off by its device; needed for such a plan when no terminal can ask.
        #[arg(long, value_name = "HOST")]
        switch_off: Vec<HostName>,
        /// The store whose data the plan DESTROYS for good; needed for such a plan when no terminal can ask.
        #[arg(long, value_name = "STORE")]
        destroy: Option<StoreName>,
        /// Do not wait for its end.
        #[arg(long)]
        no_wait: bool,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Say no.
    Reject {
        /// Which, `p17`.
        plan: PlanId,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Stop one: what has passed its point of no return goes forward, the rest goes back.
    Abort {
        /// Which, `p17`.
        plan: PlanId,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Begin nothing more of it; what is frozen or past its point of no return goes on to its end.
    Pause {
        /// Which, `p17`.
        plan: PlanId,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Go on with a paused one, and try again what it did not do.
    Resume {
        /// Which, `p17`.
        plan: PlanId,
        /// Do not wait for its end.
        #[arg(long)]
        no_wait: bool,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Stop it at a safe point and propose the reverse of what it did, as a plan of its own.
    Undo {
        /// Which, `p17`.
        plan: PlanId,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
    /// Follow one to its end.
    Watch {
        /// Which, `p17`.
        plan: PlanId,
    },
}

/// A coordinator and where it listens, `c1=10.1.1.3:7400`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorAt {
    /// Its name.
    pub name: CoordinatorName,
    /// Its address.
    pub address: SocketAddr,
}

impl FromStr for CoordinatorAt {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, at) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not NAME=ADDRESS: write it as in c1=10.1.1.3:{COORDINATOR_PORT}"))?;
        let name = CoordinatorName::new(name).map_err(|e| e.to_string())?;
        Ok(Self { name, address: address(at)? })
    }
}

/// An address, with the coordinators' port when it names none.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, COORDINATOR_PORT)))
        .map_err(|_| format!("{text:?} is not an address: write an IP address, with a port or without, no DNS name"))
}

fn domain(text: &str) -> Result<Domain, String> {
    let parts: Vec<String> = text.split('/').map(str::to_string).collect();
    if parts.iter().any(|part| part.trim().is_empty()) {
        return Err(format!("{text:?} is no failure domain: write it as slotctl hosts shows it, as in ny/r1"));
    }
    Ok(Domain(parts))
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("say why, in a few words: it is kept in the audit".into());
    }
    if text.chars().count() > REASON_LENGTH_MAX || text.chars().any(char::is_control) {
        return Err(format!("use at most {REASON_LENGTH_MAX} characters on one line"));
    }
    Ok(text.to_string())
}
