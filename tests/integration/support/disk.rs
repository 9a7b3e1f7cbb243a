//! Disks that are full.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::postgres::skip;

/// A small file system of its own, gone when dropped.
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// One of so many KiB; `None`, and loudly, where that is not to be had.
    pub fn new(kib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k,mode=777"), "tmpfs"])
            .arg(folder.path())
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            skip("what a full disk does: no tmpfs can be mounted here.");
            return None;
        }
        Some(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left. Answers the file that does.
    pub fn fill(&self) -> PathBuf {
        let file = self.path().join("filler");
        let mut filler = std::fs::File::create(&file).unwrap();
        for size in [4_096, 1] {
            while std::io::Write::write_all(&mut filler, &vec![0; size]).is_ok() {}
        }
        file
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
