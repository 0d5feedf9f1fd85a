//! Small disks, for what happens when one is full.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::run;
use crate::run::Lab;

/// A file system in memory with a size of its own; gone with its lab.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// Mounts a disk of `kibibytes` in the lab's directory.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(lab: &Lab, name: &str, kibibytes: u32) -> Result<Self> {
        let directory = lab.subdirectory(name)?;
        run(&format!("mount -t tmpfs -o size={kibibytes}k tmpfs {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes all room that is left.
    ///
    /// # Errors
    /// When the file that takes it cannot be made.
    pub fn fill(&self) -> Result<()> {
        let file = self.filling();
        let mut filling =
            fs::File::create(&file).with_context(|| format!("cannot make {}", file.display()))?;
        let page = [0xA5; 4096];
        while std::io::Write::write_all(&mut filling, &page).is_ok() {}
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the disk was not filled.
    pub fn make_room(&self) -> Result<()> {
        let file = self.filling();
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
    }

    fn filling(&self) -> PathBuf {
        self.directory.join("filling")
    }
}

/// Unmounts all disks in a lab's directory, also those that are still in use.
pub(crate) fn unmount_all(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for place in places.filter(|place| Path::new(place).starts_with(directory)) {
        if let Err(error) = run(&format!("umount --lazy {place}")) {
            eprintln!("lab: {error:#}");
        }
    }
}
