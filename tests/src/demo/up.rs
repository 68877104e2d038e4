//! `up` and `down`: the demo's cluster left running, for somebody to try things on.
//!
//! What always holds: `down` ends exactly the processes that `up` noted and the engines below its folder.

use super::told::{tell, title};
use crate::cluster::Cluster;
use crate::programs::Programs;
use crate::shape::Shape;
use crate::{Outcome, left};
use std::path::Path;

/// Starts a cluster in `folder`, leaves it running and says what to type.
pub fn up(folder: &Path) -> Outcome<()> {
    if left::is_noted(folder) {
        let at = folder.display();
        return Err(format!("a cluster was left running in {at}; end it first: cargo xtask down --dir {at}").into());
    }
    if folder.exists() {
        return Err(format!("{} exists and holds no running cluster; remove it, or use --dir", folder.display()).into());
    }
    let programs = Programs::find()?;
    let slotctl = programs.slotctl.display().to_string();
    let mut cluster = Cluster::new(folder.to_path_buf(), Shape::trial(), programs)?;
    cluster.found()?;
    let me = format!("{slotctl} --folder {}", cluster.ctl.folder("alice").display());
    let slot = cluster.master_of("store1")?;
    title("A cluster runs: 3 coordinators, 4 hosts with 8 slots each, 12 stores of 2 copies");
    println!("\nThe first five commands to type:\n");
    println!("  {me} status");
    println!("  {me} show store store1");
    println!("  {me} failover slot {slot} -m 'trying it'");
    println!("  {me} drain host imap2 -m 'trying it'");
    println!("  {me} audit");
    tell(&format!(
        "You are alice; bob and carol have folders beside hers. Data, logs and cluster.toml are in {}. It ends with \
         `cargo xtask down`.",
        cluster.folder().display()
    ));
    left::leave(cluster)
}

/// Ends the cluster that was left running in `folder`.
pub fn down(folder: &Path) -> Outcome<()> {
    let ended = left::end(folder)?;
    println!("ended {ended} processes; {} is removed", folder.display());
    Ok(())
}
