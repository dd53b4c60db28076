//! The test's own disk: full, read-only, or with free space again, as a story needs it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::scene::PATIENCE;

/// A file system in memory that only this disk's own processes see, mounted over a folder; it is gone with them.
///
/// Linux: a mount namespace, held by a sleeping process. A user who is not root gets a user namespace too.
pub(crate) struct Disk {
    holder: Child,
    mounted: PathBuf,
}

impl Disk {
    /// Mounts it over `folder`, which is made; `options` are those of tmpfs, such as `size=256k`.
    pub(crate) fn mount(folder: &Path, options: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && echo mounted > \"$2/.ready\" && exec sleep 600";
        let mut command = Command::new("unshare");
        command.args(if is_root() { &["--mount"][..] } else { &["--user", "--map-root-user", "--mount"] });
        command.args(["sh", "-c", script, "sh", options]).arg(folder).stdin(Stdio::null());
        let mut disk =
            Self { holder: command.spawn().expect("unshare (Debian: util-linux)"), mounted: folder.to_owned() };
        let began = Instant::now();
        while !disk.path().join(".ready").exists() {
            if let Some(status) = disk.holder.try_wait().unwrap() {
                let user = if is_root() { "" } else { " --user --map-root-user" };
                let again = format!("unshare{user} --mount mount -t tmpfs -o {options} tmpfs {}", folder.display());
                panic!(
                    "no file system can be mounted here ({status}): this has to work first: {again}\n\
                     (in a container: docker run --privileged, or --cap-add SYS_ADMIN without AppArmor's profile)"
                );
            }
            assert!(began.elapsed() < PATIENCE, "the file system was not mounted in time");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(disk.path().join(".ready")).unwrap();
        disk
    }

    /// Where the test, which is outside, sees the disk.
    pub(crate) fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mounted.strip_prefix("/").unwrap())
    }

    /// `program`, to be run where the disk is mounted.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.holder.id().to_string()).arg("--mount");
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(program);
        command
    }

    /// Changes the mount's options.
    pub(crate) fn remount(&self, options: &str) {
        let mut mount = self.command("mount");
        let status = mount.arg("-o").arg(format!("remount,{options}")).arg(&self.mounted).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn is_root() -> bool {
    // The owner of a process's folder is its effective user.
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
