//! What the build and the servers need from the system, and how Debian calls it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{answers, shown};

/// A package that is needed, and the program that shows that it is installed.
struct SystemPackage {
    package: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

const fn package(package: &'static str, program: &'static str, arguments: &'static [&'static str]) -> SystemPackage {
    SystemPackage { package, program, arguments }
}

/// For the build: librdkafka is C, and uses the system's OpenSSL.
const BUILD: [SystemPackage; 7] = [
    package("build-essential", "cc", &["--version"]),
    package("build-essential", "c++", &["--version"]),
    package("build-essential", "make", &["--version"]),
    package("cmake", "cmake", &["--version"]),
    package("pkg-config", "pkg-config", &["--version"]),
    package("libssl-dev", "pkg-config", &["--exists", "openssl"]),
    package("zlib1g-dev", "pkg-config", &["--exists", "zlib"]),
];

/// For the servers. A Go that is missing or too old is fetched with them, see `fetch::go`.
const SERVERS: [SystemPackage; 8] = [
    package("default-jdk-headless", "java", &["-version"]),
    package("maven", "mvn", &["--version"]),
    package("python3-venv", "python3", &["-c", "import venv, ensurepip"]),
    package("npm", "npm", &["--version"]),
    // Debian's has the system's libraries below it, where a browser by npm brings none; it starts no service.
    package("chromium", "chromium", &["--version"]),
    // Makes the certificates of the tests that need some.
    package("openssl", "openssl", &["version"]),
    package("postgresql-client", "psql", &["--version"]),
    package("postgresql", "sh", &["-c", "ls /usr/lib/postgresql/*/bin/postgres"]),
];

/// Debian's package makes a database cluster and starts it as a service, unless this file says not to. It belongs to
/// the package named here, which is therefore installed first.
const CLUSTERS: (&str, &str, &str) = (
    "postgresql-common",
    "/etc/postgresql-common/createcluster.conf",
    "\n# Tests start their own.\ncreate_main_cluster = false\n",
);

/// Installs the packages that are missing.
///
/// # Errors
/// Names the one command to type when they may not be installed from here.
pub(crate) fn install_missing(with_servers: bool) -> Result<()> {
    let missing = missing(with_servers, |need| answers(need.program, need.arguments));
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    ensure!(answers("apt-get", &["--version"]), "missing on this machine (Debian's names): {names}");
    ensure!(is_root(), "missing on this machine; type: sudo apt-get install --no-install-recommends {names}");

    println!("xtask: installing Debian packages: {names}");
    // The packages may be known already, so an unreachable source does not end this.
    if !shown(apt_get().args(["-q", "update"]))? {
        println!("xtask: apt-get update failed; trying with the lists as they are");
    }
    if missing.contains(&"postgresql") {
        let (package, file, text) = CLUSTERS;
        install(&[package])?;
        let file = File::options().append(true).open(file).with_context(|| format!("cannot open {file}"));
        file?.write_all(text.as_bytes())?;
    }
    install(&missing)
}

fn install(packages: &[&str]) -> Result<()> {
    let mut install = apt_get();
    install.args(["-q", "-y", "--no-install-recommends", "install"]).args(packages);
    ensure!(shown(&mut install)?, "apt-get could not install {}", packages.join(" "));
    Ok(())
}

/// Each missing package once.
fn missing(with_servers: bool, is_there: impl Fn(&SystemPackage) -> bool) -> Vec<&'static str> {
    let servers: &[SystemPackage] = if with_servers { &SERVERS } else { &[] };
    let needs = BUILD.iter().chain(servers).filter(|need| !is_there(need));
    let mut packages: Vec<&str> = needs.map(|need| need.package).collect();
    packages.dedup();
    packages
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Root may write where packages go; asking for the user's number would take another dependency.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|me| me.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_machine_lacks_each_package_once() {
        let build = ["build-essential", "cmake", "pkg-config", "libssl-dev", "zlib1g-dev"];
        assert_eq!(missing(false, |_| false), build);
        let servers = [
            "default-jdk-headless",
            "maven",
            "python3-venv",
            "npm",
            "chromium",
            "openssl",
            "postgresql-client",
            "postgresql",
        ];
        assert_eq!(missing(true, |_| false), [&build[..], &servers].concat());
    }

    #[test]
    fn an_installed_package_is_not_installed_again() {
        assert!(missing(true, |_| true).is_empty());
        assert_eq!(missing(true, |need| need.program != "npm"), ["npm"]);
    }
}
