//! Checkpoints of a chain: immutable objects that summarize earlier entries, so that a start need not read them all.

use bytes::Bytes;
use object_store::path::Path;

use crate::lake::Lake;
use crate::store::StoreError;

/// Checkpoints that stay: the newest, and one for those who are reading the one before.
const KEPT: usize = 2;

/// How often a checkpoint is looked for while another process replaces it.
const ATTEMPTS: u32 = 4;

/// The checkpoints in one folder, whose names sort by age.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    lake: Lake,
    folder: Path,
}

impl Checkpoints {
    /// Those in `folder`, below the lake's root.
    pub fn new(lake: &Lake, folder: &str) -> Self {
        Self { lake: lake.clone(), folder: Path::from(folder) }
    }

    /// Their names below the lake's root, the oldest first.
    ///
    /// # Errors
    /// The store does not answer or refuses.
    pub async fn names(&self) -> Result<Vec<String>, StoreError> {
        let listed = self.lake.persist(|| self.lake.store().list(&self.folder, None)).await?;
        Ok(listed.into_iter().map(String::from).collect())
    }

    /// Name and bytes of the newest one after skipping `skipped`; `None` when there is none, or when so many were
    /// skipped as are kept. One that another process deletes between the listing and the read is looked for again.
    ///
    /// # Errors
    /// The store does not answer or refuses.
    pub async fn newest(&self, skipped: usize) -> Result<Option<(String, Bytes)>, StoreError> {
        if skipped >= KEPT {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS {
            let Some(name) = self.names().await?.into_iter().nth_back(skipped) else { return Ok(None) };
            let path = Path::from(name.as_str());
            if let Some(bytes) = self.lake.persist(|| self.lake.store().get(&path)).await? {
                return Ok(Some((name, bytes)));
            }
        }
        Ok(None)
    }

    /// Writes one, unless one of that name exists, and deletes all but the newest two. Nothing depends on it.
    ///
    /// # Errors
    /// The store does not answer or refuses.
    pub async fn write(&self, file_name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = Path::from(format!("{}/{file_name}", self.folder));
        self.lake.persist(|| self.lake.store().create(&path, bytes.clone())).await?;
        let mut old = self.names().await?;
        old.truncate(old.len().saturating_sub(KEPT));
        if old.is_empty() { Ok(()) } else { self.lake.delete(&old).await }
    }
}
