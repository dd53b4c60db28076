//! Where the Spark Connect server is: a flag, or the environment.

use std::env;

use turnstile_spark::SparkAddress;

use crate::exit::Exit;
use crate::report::Failure;

/// The variable that Spark's own clients read.
const REMOTE: &str = "SPARK_REMOTE";

/// The address of the flag, or of the environment.
pub(super) fn spark_address(flag: Option<&str>) -> anyhow::Result<Option<SparkAddress>> {
    let wrong = |error: turnstile_spark::SparkAddressError| Failure::of(Exit::Config, error);
    match flag {
        Some(text) => {
            let address = SparkAddress::parse(text).map_err(wrong)?;
            if address.token.is_some() || !address.headers.is_empty() {
                let fact =
                    "every user of the machine can see a command's arguments, and --remote holds a token or a header";
                let hint = format!("set the environment variable {REMOTE} to that address, without --remote");
                return Err(Failure::new(Exit::Config, fact).hint(hint).into());
            }
            Ok(Some(address))
        }
        None => {
            let text = env::var(REMOTE).ok().filter(|text| !text.is_empty());
            Ok(text.map(|text| SparkAddress::parse(&text)).transpose().map_err(wrong)?)
        }
    }
}
