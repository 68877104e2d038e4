//! A disk that loses what was not synced: any subset of unsynced writes, the last kept one torn; any suffix of unsynced
//! renames and removals.

use slot_engine::journal::core::{DiskOp, DiskPiece};
use std::collections::BTreeMap;

/// A small seeded generator, so that every run of a seed is the same.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    synced: Vec<u8>,
    pending: Vec<Pending>,
}

fn apply(bytes: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Write(offset, data) => {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(data);
        }
        Pending::Truncate(length) => bytes.resize(*length as usize, 0),
    }
}

impl Inode {
    fn current(&self) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        self.pending.iter().for_each(|p| apply(&mut bytes, p));
        bytes
    }
}

type Names = BTreeMap<String, usize>;

#[derive(Clone, Debug, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    names: Names,
    /// The folder after each unsynced change, oldest first; the first is what is synced.
    unsynced: Vec<Names>,
    synced: Names,
    /// How often a file or the folder was synced.
    pub fsyncs: u64,
}

impl Disk {
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let mut disk = Disk::default();
        for (name, bytes) in files {
            disk.names.insert(name, disk.inodes.len());
            disk.inodes.push(Inode { synced: bytes, pending: Vec::new() });
        }
        disk.synced = disk.names.clone();
        disk
    }

    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.names.iter().map(|(name, inode)| (name.clone(), self.inodes[*inode].current())).collect()
    }

    pub fn read(&self, pieces: &[DiskPiece]) -> Vec<Option<Vec<u8>>> {
        let files = self.files();
        let read = |piece: &DiskPiece| {
            let (start, end) = (piece.offset as usize, (piece.offset + piece.length) as usize);
            files.get(&piece.file)?.get(start..end).map(<[u8]>::to_vec)
        };
        pieces.iter().map(read).collect()
    }

    /// Something other than the process changes bytes of a file.
    pub fn spoil(&mut self, file: &str, offset: u64, bytes: &[u8]) {
        let inode = self.names[file];
        apply(&mut self.inodes[inode].synced, &Pending::Write(offset, bytes.to_vec()));
    }

    pub fn run(&mut self, op: &DiskOp) {
        self.fsyncs += u64::from(matches!(op, DiskOp::Fsync { .. } | DiskOp::FsyncDir));
        match op {
            DiskOp::Write { file, offset, bytes } => {
                let inode = match self.names.get(file) {
                    Some(inode) => *inode,
                    None => {
                        self.inodes.push(Inode::default());
                        self.names.insert(file.clone(), self.inodes.len() - 1);
                        self.unsynced.push(self.names.clone());
                        self.inodes.len() - 1
                    }
                };
                self.inodes[inode].pending.push(Pending::Write(*offset, bytes.clone()));
            }
            DiskOp::Truncate { file, length } => {
                self.inodes[self.names[file]].pending.push(Pending::Truncate(*length));
            }
            DiskOp::Fsync { file } => {
                let inode = &mut self.inodes[self.names[file]];
                inode.synced = inode.current();
                inode.pending.clear();
            }
            DiskOp::Rename { from, to } => {
                let inode = self.names.remove(from).expect("renames what is there");
                self.names.insert(to.clone(), inode);
                self.unsynced.push(self.names.clone());
            }
            DiskOp::Remove { file } => {
                if self.names.remove(file).is_some() {
                    self.unsynced.push(self.names.clone());
                }
            }
            DiskOp::FsyncDir => {
                self.synced = self.names.clone();
                self.unsynced.clear();
            }
        }
    }

    /// The power fails.
    pub fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.below(self.unsynced.len() as u64 + 1) as usize;
        self.names = if kept == 0 { self.synced.clone() } else { self.unsynced[kept - 1].clone() };
        for inode in &mut self.inodes {
            let pending = std::mem::take(&mut inode.pending);
            let mut kept: Vec<Pending> = pending.into_iter().filter(|_| rng.one_in(2)).collect();
            if let Some(Pending::Write(_, data)) = kept.last_mut()
                && rng.one_in(2)
            {
                let length = rng.below(data.len() as u64 + 1) as usize;
                data.truncate(length);
            }
            kept.iter().for_each(|p| apply(&mut inode.synced, p));
        }
        self.synced = self.names.clone();
        self.unsynced.clear();
    }

    /// The process is killed; what it wrote stays in the page cache.
    pub fn kill(&mut self) {}
}
