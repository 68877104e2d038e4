//! Front ends of a cluster of the rig: their files, their maps, their lives.
//!
//! What always holds: a front end is killed through the handle of the child that was started; its maps lie in its folder under
//! their own names unless a test says otherwise.

use crate::cluster::Cluster;
use crate::{AT_LAST, Outcome, wait_until};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

/// One front end that runs.
#[derive(Debug)]
pub struct FrontEnd {
    /// Its number: fe1 is 1.
    pub n: u8,
    child: Child,
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("fe{} was not ended: {error}", self.n);
        }
    }
}

impl Cluster {
    /// Where front end `n` keeps its files.
    pub fn front_end_folder(&self, n: u8) -> PathBuf {
        self.folder().join("front-ends").join(format!("fe{n}"))
    }

    /// Starts front end `n`. `maps` are the lines of its file from the first `[map.…]` on; empty for every map of the shape,
    /// without a reload.
    pub fn start_front_end(&self, n: u8, maps: &str) -> Outcome<FrontEnd> {
        let (name, folder) = (format!("fe{n}"), self.front_end_folder(n));
        fs::create_dir_all(&folder)?;
        let at = self.block().front_end(n);
        let mut text =
            format!("format = 1\nfront_end = \"{name}\"\nlisten = \"{at}\"\ndata = \"{}\"\n\n", folder.display());
        for map in self.shape.maps.iter().filter(|_| maps.is_empty()) {
            text += &format!("[map.{map}]\npath = \"{}\"\n", folder.join(map).display());
        }
        let config = folder.join("front-end.toml");
        fs::write(&config, text + maps)?;
        let mut command = Command::new(self.programs().agent.clone());
        command.arg("--folder").arg(self.identity(&format!("front-end-{name}"))).arg("--config").arg(config);
        Ok(FrontEnd { n, child: self.spawn(&name, command)? })
    }

    /// A map of front end `n` as it is on disk.
    pub fn map(&self, n: u8, map: &str) -> Outcome<String> {
        Ok(fs::read_to_string(self.front_end_folder(n).join(map))?)
    }

    /// What the JSON map of front end `n` says of a store.
    pub fn mapped(&self, n: u8, store: &str) -> Outcome<Value> {
        let map: Value = serde_json::from_str(&self.map(n, "json")?)?;
        let found = map["stores"].as_array().into_iter().flatten().find(|line| line["name"] == store);
        found.cloned().ok_or_else(|| format!("{store} is not in the map").into())
    }

    /// What `status` says of front end `n`.
    pub fn front_end_status(&self, n: u8) -> Outcome<Value> {
        let status = self.look(&["status"])?;
        let name = format!("fe{n}");
        let found =
            status["front_ends"].as_array().into_iter().flatten().find(|line| line["front_end"] == name.as_str());
        found.cloned().ok_or_else(|| format!("{name} is not in status").into())
    }

    /// Waits until front end `n` has acknowledged every route as it is.
    pub fn wait_front_end(&self, n: u8) -> Outcome<()> {
        wait_until("the front end serves every route", AT_LAST, || {
            self.front_end_status(n).is_ok_and(|line| line["serves_all"] == true)
        })
    }
}
