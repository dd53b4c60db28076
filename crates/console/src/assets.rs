//! Style, script and icon, compiled in. Their names contain a hash of their content, so a browser keeps them for good.

use std::sync::LazyLock;

use ring::digest;
use turnstile_values::human;

/// A file that pages load.
#[derive(Debug)]
pub(crate) struct Asset {
    /// The last part of its path: `console-0123456789abcdef.css`.
    pub(crate) name: String,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, ending: &str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = human::hex(digest::digest(&digest::SHA256, bytes).as_ref());
        Self { name: format!("{stem}-{}.{ending}", &hash[..16]), content_type, bytes }
    }

    /// Where it is served.
    pub(crate) fn href(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// The style sheet.
pub(crate) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "css", "text/css; charset=utf-8", include_bytes!("../assets/console.css")));

/// The script.
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "js", "text/javascript; charset=utf-8", include_bytes!("../assets/console.js"))
});

/// The icon.
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../assets/icon.svg")));

/// The asset of this name, hash included.
pub(crate) fn find(name: &str) -> Option<&'static Asset> {
    [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.name == name)
}
