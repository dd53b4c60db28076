//! PostgreSQL, as the system's package brings it: SCRAM passwords, TLS with a certificate of a private authority.
//!
//! It refuses to run as root. Started by root it runs as the package's own user, and its files lie in a folder of that
//! user's: a target folder below `/root` is closed to it.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::certificates::Certificates;
use super::port::{free_port, with_free_ports};
use super::process::ServerProcess;
use crate::address::{POSTGRES_PASSWORD, POSTGRES_USER, Postgres};

const READY_LIMIT: Duration = Duration::from_secs(60);
/// Where Debian keeps each version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";
const LOOPBACK: &str = "127.0.0.1";
/// The user that Debian's package makes.
const SYSTEM_USER: &str = "postgres";
/// A server that was killed leaves processes that hold its memory until they notice: how often the next start is tried.
const RESTART_TRIES: u32 = 50;
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// A running PostgreSQL with a superuser. Dropping it kills it.
#[derive(Debug)]
pub struct PostgresServer {
    // Before the folder, so that the process has ended when that is deleted.
    process: ServerProcess,
    programs: Programs,
    data: PathBuf,
    host: &'static str,
    port: u16,
    certificates: Certificates,
    folder: TempDir,
}

impl PostgresServer {
    /// Makes a cluster in its own folder and starts it, with TLS for those who ask for it.
    ///
    /// A connection without TLS to a database named `tls_only` is refused.
    ///
    /// # Errors
    /// When the package or `openssl` is missing, or it does not come up; the message holds the end of its log.
    pub fn start() -> Result<Self> {
        with_free_ports(|| Self::start_at(LOOPBACK, free_port()?, true))
    }

    /// The same on another loopback address, for which its certificate is not.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_on(host: &'static str) -> Result<Self> {
        with_free_ports(|| Self::start_at(host, free_port()?, true))
    }

    /// The same without TLS.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_without_tls() -> Result<Self> {
        with_free_ports(|| Self::start_at(LOOPBACK, free_port()?, false))
    }

    fn start_at(host: &'static str, port: u16, tls: bool) -> Result<Self> {
        let programs = Programs::find()?;
        let folder = tempfile::tempdir()?;
        let certificates = Certificates::make(&folder.path().join("tls"))?;
        let data = folder.path().join("data");
        programs.own(folder.path())?;
        // Open for those who read the certificates; the data folder is closed by initdb.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        programs.make_cluster(folder.path(), &data)?;
        configure(&programs, &data, folder.path(), (host, port), tls.then_some(&certificates))?;
        let process = programs.launch(&data, folder.path(), (host, port))?;
        Ok(Self { process, programs, data, host, port, certificates, folder })
    }

    /// Where it is, and who may do everything there.
    pub fn address(&self) -> Postgres {
        Postgres {
            host: self.host.into(),
            port: self.port,
            user: POSTGRES_USER,
            password: POSTGRES_PASSWORD,
            authority: self.certificates.authority.clone(),
            other_authority: self.certificates.other_authority.clone(),
        }
    }

    /// The folder with its certificates, as the shared server's is handed down.
    pub fn certificates_dir(&self) -> PathBuf {
        self.folder.path().join("tls")
    }

    /// The folder of its Unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it as an administrator does who does not wait for clients: their transactions are undone.
    ///
    /// # Errors
    /// When `pg_ctl` refuses.
    pub fn stop(&mut self) -> Result<()> {
        let mut stop = self.programs.command("pg_ctl", self.folder.path());
        done(stop.args(["stop", "-m", "fast", "-w", "-D"]).arg(&self.data))?;
        self.process.stop().map(drop)
    }

    /// Kills it (SIGKILL). Its sessions end a moment later, when they notice.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Starts it again after a stop or a kill, on the same port with the same data.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<()> {
        let mut tries = RESTART_TRIES;
        loop {
            tries -= 1;
            match self.programs.launch(&self.data, self.folder.path(), (self.host, self.port)) {
                Ok(process) => {
                    self.process = process;
                    return Ok(());
                }
                Err(fault) if tries == 0 => return Err(fault),
                Err(_) => sleep(RESTART_PAUSE),
            }
        }
    }

    /// The process: its id, its log.
    pub fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// The process, to ask whether it still runs.
    pub fn process_mut(&mut self) -> &mut ServerProcess {
        &mut self.process
    }
}

/// One version's programs, and as whom they run.
#[derive(Debug)]
struct Programs {
    dir: PathBuf,
    /// User and group, when we are root and the server must not be.
    user: Option<(u32, u32)>,
}

impl Programs {
    /// The newest version that is installed.
    fn find() -> Result<Self> {
        let installed = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
        let versions = installed.filter(|entry| entry.path().join("bin/postgres").is_file());
        let newest = versions.max_by_key(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        let newest = newest.with_context(|| {
            format!("no PostgreSQL in {VERSIONS}: run `cargo xtask test`, or install Debian's package `postgresql`")
        })?;
        Ok(Self { dir: newest.path().join("bin"), user: server_user()? })
    }

    fn command(&self, program: &str, home: &Path) -> Command {
        let mut command = Command::new(self.dir.join(program));
        // A person's own PGHOST or PGDATA must not lead to another server.
        command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").current_dir(home);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn own(&self, path: &Path) -> Result<()> {
        match self.user {
            None => Ok(()),
            Some((user, group)) => chown(path, Some(user), Some(group))
                .with_context(|| format!("cannot give {} to the server's user", path.display())),
        }
    }

    fn make_cluster(&self, folder: &Path, data: &Path) -> Result<()> {
        let password = folder.join("password");
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&password)?;
        writeln!(file, "{POSTGRES_PASSWORD}")?;
        self.own(&password)?;
        let mut init = self.command("initdb", folder);
        init.args(["-U", POSTGRES_USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        done(init.arg("--pwfile").arg(&password).arg("-D").arg(data))
    }

    fn launch(&self, data: &Path, folder: &Path, (host, port): (&str, u16)) -> Result<ServerProcess> {
        let mut command = self.command("postgres", folder);
        command.arg("-D").arg(data);
        let mut process = ServerProcess::start("PostgreSQL", &mut command, &folder.join("postgres.log"))?;
        process.wait_ready(READY_LIMIT, || {
            let mut ask = self.command("pg_isready", folder);
            ask.args(["-q", "-h", host, "-p", &port.to_string()]).status().is_ok_and(|status| status.success())
        })?;
        Ok(process)
    }
}

fn configure(
    programs: &Programs,
    data: &Path,
    folder: &Path,
    (host, port): (&str, u16),
    tls: Option<&Certificates>,
) -> Result<()> {
    let mut settings = format!(
        "listen_addresses = '{host}'\nport = {port}\nunix_socket_directories = '{}'\nmax_connections = 60\n\
         password_encryption = 'scram-sha-256'\n\
         # Only a fall of the machine would need it, and no test brings that about.\nfsync = off\n",
        folder.display()
    );
    let doors = "local all all scram-sha-256\n\
                 hostnossl tls_only all 127.0.0.0/8 reject\n\
                 host all all 127.0.0.0/8 scram-sha-256\n";
    if let Some(certificates) = tls {
        let pair = &certificates.server;
        for (from, name) in [(&pair.key, "server.key"), (&pair.certificate, "server.crt")] {
            let file = data.join(name);
            fs::copy(from, &file)?;
            programs.own(&file)?;
            fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        }
        settings.push_str("ssl = on\n");
    }
    let append = |name: &str, text: &str| -> Result<()> {
        let mut file = fs::File::options().append(true).open(data.join(name))?;
        Ok(file.write_all(text.as_bytes())?)
    };
    append("postgresql.conf", &settings)?;
    fs::write(data.join("pg_hba.conf"), doors).context("cannot write pg_hba.conf")
}

/// The user that the server runs as when we are root.
fn server_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let found = users.lines().find_map(|line| user_and_group(line, SYSTEM_USER));
    let found = found.with_context(|| format!("no user `{SYSTEM_USER}`, whom Debian's package `postgresql` makes"));
    found.map(Some)
}

/// A line is `name:password:user:group:…`.
fn user_and_group(line: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    let (found, _password) = (fields.next()?, fields.next()?);
    let ids = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (found == name).then_some(ids)
}

fn done(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let out = command.output().with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{} failed ({}): {said}", program.display(), out.status);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_user_is_found_by_name_alone() {
        assert_eq!(user_and_group("postgres:x:101:104:x:/var/lib/postgresql:/bin/bash", "postgres"), Some((101, 104)));
        assert_eq!(user_and_group("postgresql:x:101:104::/:/bin/sh", "postgres"), None);
        assert_eq!(user_and_group("postgres:x", "postgres"), None);
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn a_killed_postgres_starts_again_on_its_port_with_its_data() {
        let mut server = PostgresServer::start().unwrap();
        let select = |server: &PostgresServer, sql: &str| {
            let mut psql = server.programs.command("psql", server.folder.path());
            psql.env("PGPASSWORD", POSTGRES_PASSWORD).args(["-h", "127.0.0.1", "-U", POSTGRES_USER, "-Atc", sql]);
            psql.args(["-p", &server.port.to_string(), "postgres"]);
            String::from_utf8_lossy(&psql.output().unwrap().stdout).trim().to_owned()
        };
        assert_eq!(select(&server, "CREATE TABLE t AS SELECT 7 AS n"), "SELECT 1");
        server.kill9().unwrap();
        server.restart().unwrap();
        assert_eq!(select(&server, "SELECT n FROM t"), "7");
        server.stop().unwrap();
        assert_eq!(select(&server, "SELECT n FROM t"), "");
        server.restart().unwrap();
        assert_eq!(select(&server, "SELECT n FROM t"), "7");
    }
}
