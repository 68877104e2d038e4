//! `cargo xtask bench placement`: ours and hbal on the same files, each row with the bounds beside what was reached.
//!
//! What always holds: generator and scorer are run as they are and given by path; CPU seconds and memory are the child's own,
//! reading and writing of files included; bounds are counted here from the file, not taken from the planner.

mod bounds;
mod child;
mod joint;
mod own;
mod plot;
mod roles;
mod survivor;
mod witness;

use bounds::{Bounds, JOINT};
use child::{Measured, Programs};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The cases of the table: kind, hosts, and how full the fullest host may be in per cent of its share.
const CASES: [(&str, u32, &str); 16] = [
    ("random", 10, "102"),
    ("random", 40, "102"),
    ("random", 200, "101"),
    ("random", 1000, "101"),
    ("random", 4000, "101"),
    ("random", 10_000, "101"),
    ("skew", 10, "102"),
    ("skew", 40, "102"),
    ("skew", 200, "101"),
    ("skew", 1000, "101"),
    ("skew", 4000, "101"),
    ("drain", 10, "101"),
    ("drain", 40, "101"),
    ("drain", 200, "101"),
    ("drain", 1000, "101"),
    ("drain", 4000, "101"),
];
/// The host that the generator's `drain` is about.
const DRAINED: &str = "node-00000";
/// Above this many hosts hbal takes longer than anybody waits (a step costs about the third power of them).
const PEER_HOSTS_MAX: u32 = 40;

struct Options {
    inputs: PathBuf,
    slotctl: PathBuf,
    json: Option<PathBuf>,
    peer: bool,
    peer_seconds: u32,
    hosts_max: u32,
    /// Of the cases these, as `random-10`, and `own` for those of our own generator; all if empty.
    only: Vec<String>,
    note: Option<String>,
}

impl Options {
    fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|one| one == case)
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        inputs: PathBuf::from("../shared/placement"),
        slotctl: PathBuf::from("target/release/slotctl"),
        json: None,
        peer: false,
        peer_seconds: 120,
        hosts_max: u32::MAX,
        only: Vec::new(),
        note: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--inputs" => options.inputs = value()?.into(),
            "--slotctl" => options.slotctl = value()?.into(),
            "--json" => options.json = Some(value()?.into()),
            "--peer" if value()? == "hbal" => options.peer = true,
            "--peer" => return Err("the only peer is hbal".to_owned()),
            "--peer-seconds" => options.peer_seconds = value()?.parse().map_err(|_| "--peer-seconds takes a number")?,
            "--hosts-max" => options.hosts_max = value()?.parse().map_err(|_| "--hosts-max takes a number")?,
            "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
            "--note" => options.note = Some(value()?),
            "--bench" => {}
            other => {
                return Err(format!(
                    "{other} is no option: --json --peer --peer-seconds --inputs --slotctl --hosts-max --only --note"
                ));
            }
        }
    }
    let known = |case: &String| case == "own" || CASES.iter().any(|(kind, hosts, _)| *case == name(kind, *hosts));
    if let Some(other) = options.only.iter().find(|case| !known(case)) {
        return Err(format!("--only {other} is no case: they are named as random-10, skew-200, drain-40, and own"));
    }
    for name in ["gen.py", "score.py"] {
        if !options.inputs.join(name).is_file() {
            let inputs = options.inputs.display();
            return Err(format!("{inputs} has no {name}: give the folder of generator and scorer with --inputs DIR"));
        }
    }
    Ok(options)
}

fn name(kind: &str, hosts: u32) -> String {
    format!("{kind}-{hosts}")
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench placement: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("slot-placement-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let programs =
        Programs { inputs: options.inputs.clone(), slotctl: options.slotctl.clone(), folder: folder.clone() };
    let mut rows = Vec::new();
    println!(
        "case          who       CPU s (largest)    MB  masters  N-1 (bound)      disk  viol        GiB  over bound  changes    least  floor"
    );
    let wanted = |case: &(&str, u32, &str)| case.1 <= options.hosts_max && options.wants(&name(case.0, case.1));
    for (kind, hosts, disk) in CASES.into_iter().filter(wanted) {
        let file = programs.generate(kind, hosts)?;
        let bounds = Bounds::of(&file, if kind == "drain" { Some(DRAINED) } else { None }, disk)?;
        let ours = programs.ours(kind, &file, disk)?;
        rows.push(row(&programs, kind, hosts, ("slotctl", ours), &bounds)?);
        if options.peer && hosts <= PEER_HOSTS_MAX {
            let peer = programs.hbal(kind, &file, options.peer_seconds)?;
            rows.push(row(&programs, kind, hosts, ("hbal", peer), &bounds)?);
        }
    }
    let own = if options.wants("own") { own::all() } else { Vec::new() };
    own.iter().for_each(|row| println!("{row}"));
    let _ = std::fs::remove_dir_all(&folder);
    if let Some(path) = &options.json {
        let document = json!({
            "command": format!("cargo xtask bench placement --inputs DIR --json FILE{}", if options.peer { " --peer hbal" } else { "" }),
            "note": options.note, "profile": if cfg!(debug_assertions) { "dev" } else { "release" },
            "cores": std::thread::available_parallelism().map_or(0, usize::from), "rows": rows, "own_generator": own,
        });
        let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
        let plot = path.with_extension("svg");
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
        };
        write(path.as_path(), &(text + "\n"))?;
        let drawn = plot::growth(&rows).map_err(|error| format!("cannot draw {}: {error}", plot.display()))?;
        write(plot.as_path(), &drawn)?;
    }
    Ok(())
}

/// What the scorer says of a result, with the bounds.
fn row(
    programs: &Programs,
    kind: &str,
    hosts: u32,
    (who, measured): (&str, Measured),
    bounds: &Bounds,
) -> Result<Value, String> {
    let offline = (kind == "drain").then_some(DRAINED);
    let score = programs.score(&measured, offline)?;
    let after = &score["after"];
    let gib = score["moved_gb_net"].as_f64().unwrap_or(f64::NAN);
    let survivor = bounds.masters(after["n1_max_over_mean"].as_f64().unwrap_or(f64::NAN));
    let joint = JOINT.iter().find(|joint| (joint.0, joint.1) == (kind, hosts)).map(|joint| joint.2);
    let joint = joint.or_else(|| bounds.joint_gib(survivor));
    let reachable = bounds.reachable();
    let joint_there = reachable.and_then(|survivor| bounds.joint_gib(survivor));
    let changes = bounds.changes_with(&measured.before, &measured.after, survivor);
    let bound = if kind == "drain" { bounds.drain_gib } else { joint.unwrap_or(bounds.larger()) };
    println!(
        "{kind:<7}{hosts:>6} {who:<8} {:>7.3} ({:>7.3}) {:>5} {:>8} {:>4} ({:>6.4}) {:>9} {:>5} {gib:>10.1} {:>11.4} {:>8} {:>8} {:>6}",
        measured.cpu_s,
        measured.cpu_largest_s,
        measured.peak_kib / 1024,
        after["pri_max_over_mean"],
        after["n1_max_over_mean"],
        score["best_possible"]["n1_max_over_mean"].as_f64().unwrap_or(f64::NAN),
        after["disk_max_over_mean"],
        after["rack_violations"],
        gib / bound,
        score["primary_changes"],
        changes.map_or_else(|| "-".to_owned(), |least| least.to_string()),
        bounds.changes,
    );
    Ok(json!({
        "case": kind, "hosts": hosts, "who": who, "cpu_s": measured.cpu_s, "runs": measured.runs, "cpu_largest_s": measured.cpu_largest_s,
        "peak_mib": measured.peak_kib as f64 / 1024.0,
        "timed_out": measured.timed_out,
        "masters_max_over_mean": after["pri_max_over_mean"], "masters_bound": score["best_possible"]["pri_max_over_mean"],
        "n1_max_over_mean": after["n1_max_over_mean"], "n1_bound": score["best_possible"]["n1_max_over_mean"],
        "disk_max_over_mean": after["disk_max_over_mean"], "violations": after["rack_violations"],
        "copies_on_drained": after["insts_on_offline"], "gib_copied": gib,
        "gib_over_cap": bounds.over_cap_gib, "gib_forced_by_violations": bounds.forced_gib,
        "gib_joint_bound": joint, "worst_survivor": survivor, "worst_survivor_least": bounds.survivor, "worst_survivor_reachable": reachable,
        "gib_joint_bound_there": joint_there, "gib_drain_bound": offline.map(|_| bounds.drain_gib),
        "gib_over_bound": gib / bound, "master_changes": score["primary_changes"], "master_changes_floor": bounds.changes,
        "master_changes_with_these_copies": changes,
    }))
}
