//! Where fetched data sets are.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::Error;

/// The folder that holds fetched data sets, one subfolder each.
///
/// It is `$ONEBIT_DATA`, or else `$XDG_DATA_HOME/onebit`, or else `~/.local/share/onebit`.
///
/// # Errors
///
/// If none of the three variables is set.
pub fn data_dir() -> Result<PathBuf, Error> {
    data_dir_from(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn data_dir_from(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Error> {
    if let Some(folder) = variable("ONEBIT_DATA") {
        return Ok(folder.into());
    }
    if let Some(folder) = variable("XDG_DATA_HOME") {
        return Ok(PathBuf::from(folder).join("onebit"));
    }
    match variable("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".local/share/onebit")),
        None => Err(Error::setting(
            "environment variable ONEBIT_DATA",
            "not set",
            "the folder that holds data sets, because HOME is not set either",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn dir(variables: &[(&str, &str)]) -> Result<PathBuf, Error> {
        data_dir_from(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_data_folder_follows_the_environment() {
        let all = [("ONEBIT_DATA", "/a"), ("XDG_DATA_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(dir(&all).unwrap(), Path::new("/a"));
        assert_eq!(dir(&all[1..]).unwrap(), Path::new("/b/onebit"));
        assert_eq!(dir(&all[2..]).unwrap(), Path::new("/c/.local/share/onebit"));
        assert!(dir(&[]).unwrap_err().to_string().contains("ONEBIT_DATA is not set"));
    }
}
