//! Where the password comes from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use turnstile_values::Secret;

use super::settings::{PostgresPassword, PostgresSettings};
use crate::error::TargetSettingsError;

impl PostgresPassword {
    /// Reads it now. An error names the file.
    pub(super) fn read(&self, settings: &PostgresSettings) -> Result<Option<Secret>, TargetSettingsError> {
        match self {
            PostgresPassword::None => Ok(None),
            PostgresPassword::Given(secret) => Ok(Some(secret.clone())),
            PostgresPassword::File(file) => {
                let text = text_of(file)?;
                let password = text.lines().next().unwrap_or_default();
                if password.is_empty() {
                    let reason = format!("the password file {} has an empty first line", file.display());
                    return Err(wrong(reason, "write the password there"));
                }
                Ok(Some(Secret::new(password)))
            }
            PostgresPassword::PassFile(file) => {
                check_mode(file)?;
                let found = text_of(file)?.lines().find_map(|line| matching(line, settings));
                let reason = || format!("{} has no line for {} as {}", file.display(), settings, settings.user);
                let hint = "a line is host:port:database:user:password, and * matches anything";
                found.map(Some).ok_or_else(|| wrong(reason(), hint))
            }
        }
    }
}

fn wrong(reason: String, hint: impl Into<String>) -> TargetSettingsError {
    TargetSettingsError::new("password_file", reason, hint)
}

fn text_of(file: &Path) -> Result<String, TargetSettingsError> {
    fs::read_to_string(file).map_err(|error| {
        let reason = format!("the password file {} cannot be read", file.display());
        wrong(reason, "name a file that this user may read").caused_by(error)
    })
}

/// libpq ignores a file that others can read; here it is an error.
fn check_mode(file: &Path) -> Result<(), TargetSettingsError> {
    let mode = fs::metadata(file).map_or(0, |data| data.permissions().mode());
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let reason = format!("the password file {} can be read by others (mode {:o})", file.display(), mode & 0o777);
    Err(wrong(reason, format!("chmod 600 {}", file.display())))
}

fn matching(line: &str, settings: &PostgresSettings) -> Option<Secret> {
    if line.starts_with('#') {
        return None;
    }
    let fields = fields(line);
    let [host, port, database, user, password] = &fields[..] else { return None };
    // libpq uses this name for a socket.
    let host_here = if settings.is_local_socket() { "localhost" } else { &settings.host };
    let port_here = settings.port.to_string();
    let here = [(host, host_here), (port, &port_here), (database, &settings.database), (user, &settings.user)];
    here.iter().all(|(field, value)| *field == "*" || field == value).then(|| Secret::new(password))
}

/// Splits at colons; a backslash takes the next letter as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut().into_iter().for_each(|field| field.extend(letters.next())),
            _ => fields.last_mut().into_iter().for_each(|field| field.push(letter)),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::options::PostgresOptions;
    use super::*;

    fn settings(password: PostgresPassword) -> PostgresSettings {
        let url = Some(Secret::new("postgres://loader@db.example:6000/mta"));
        let options = PostgresOptions { url, ..PostgresOptions::default() };
        PostgresSettings { password, ..PostgresSettings::new(options, |_| None).unwrap() }
    }

    fn written(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        (dir, file)
    }

    #[test]
    fn the_first_matching_line_of_a_pass_file_gives_the_password() {
        let text = "# comment\nelsewhere:*:*:*:no\n*:6000:*:loader:a\\:b\\\\c\n*:*:*:*:later\n";
        let (_dir, file) = written(text, 0o600);
        let settings = settings(PostgresPassword::PassFile(file));
        assert_eq!(settings.password.read(&settings).unwrap().unwrap().expose(), "a:b\\c");
    }

    #[test]
    fn a_pass_file_that_others_can_read_is_refused() {
        let (_dir, file) = written("*:*:*:*:hush\n", 0o644);
        let settings = settings(PostgresPassword::PassFile(file));
        let error = settings.password.read(&settings).unwrap_err();
        assert!(error.reason.contains("mode 644") && error.hint.starts_with("chmod 600"), "{error}");
    }

    #[test]
    fn a_password_file_is_read_when_it_is_needed() {
        let (_dir, file) = written("first\n", 0o600);
        let settings = settings(PostgresPassword::File(file.clone()));
        assert_eq!(settings.password.read(&settings).unwrap().unwrap().expose(), "first");
        fs::write(&file, "second\n").unwrap();
        assert_eq!(settings.password.read(&settings).unwrap().unwrap().expose(), "second");
        fs::write(&file, "").unwrap();
        assert!(settings.password.read(&settings).unwrap_err().reason.contains("empty first line"));
    }
}
