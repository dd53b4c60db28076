//! A client of a schema registry that caches its answers.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::runtime::Handle;
use turnstile_message::{SchemaKind, WriterSchema};
use turnstile_values::human;

use crate::answer::{RegistryAnswer, SchemaBody, SchemaReference, classify};
use crate::settings::SchemaRegistrySettings;

/// How long a connection and a whole request may take.
const CONNECT: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const BODY_BYTES: usize = 4 << 20;
/// Most schemas that one schema may refer to, directly or not.
const REFERENCES: usize = 100;
/// Most schemas that are cached, and most bytes of their texts; beyond either, the cache is cleared.
const SCHEMAS: usize = 1_000;
const SCHEMA_BYTES: usize = 32 << 20;
/// Most ids that are cached as unknown, and for how long: a schema may be registered after its first message.
const UNKNOWN_IDS: usize = 10_000;
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// Why a registry gave no answer about a schema.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The settings are wrong, or no client can be made; fix the pipeline file.
    #[error("the schema registry's settings are wrong: {reason}")]
    Settings {
        /// What is wrong.
        reason: &'static str,
        /// What shows it.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// It cannot be reached, or fails itself; ask again later.
    #[error("the schema registry {url} is not available")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        #[source]
        reason: UnreachableReason,
    },
    /// It refuses this user; fix user or password.
    #[error("the schema registry {url} rejects this user: {reason}")]
    Denied {
        /// Its address.
        url: String,
        /// Its message.
        reason: String,
    },
    /// It answers, but not as a registry does; fix the address.
    #[error("the schema registry {url} returns no schemas: {reason}")]
    Refused {
        /// Its address.
        url: String,
        /// What came instead.
        reason: String,
    },
}

/// Why a registry cannot be asked now.
#[derive(Debug)]
pub enum UnreachableReason {
    /// The request failed on its way.
    Request(reqwest::Error),
    /// The registry answered that it cannot serve it.
    Answer(String),
}

impl std::fmt::Display for UnreachableReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request(error) if error.is_timeout() => write!(f, "no answer within {} s", REQUEST.as_secs()),
            Self::Request(error) => write!(f, "{}", human::innermost(error).unwrap_or(error)),
            Self::Answer(text) => f.write_str(text),
        }
    }
}

// Its text is that of its innermost cause already.
impl Error for UnreachableReason {}

/// A registry. May be shared by threads.
#[derive(Debug)]
pub struct SchemaRegistry {
    settings: SchemaRegistrySettings,
    base: Url,
    client: Client,
    /// Runs the requests of the thread that asks.
    runtime: Handle,
    cache: Mutex<SchemaCache>,
}

#[derive(Debug, Default)]
struct SchemaCache {
    known: HashMap<u32, Arc<WriterSchema>>,
    bytes: usize,
    unknown: HashMap<u32, Instant>,
}

impl SchemaRegistry {
    /// A client of the registry, whose requests run on `runtime`: one that drives itself, not a `current_thread` one.
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// [`RegistryError::Settings`] when the address is not a URL.
    pub fn new(settings: SchemaRegistrySettings, runtime: Handle) -> Result<Self, RegistryError> {
        // The address is not repeated: a wrong one may be a password in the wrong place.
        let wrong = |reason, error: Option<_>| RegistryError::Settings { reason, source: error };
        let base = Url::parse(&settings.url).map_err(|e| wrong("its url is not valid", Some(Box::new(e) as Box<_>)))?;
        if base.cannot_be_a_base() {
            return Err(wrong("its url cannot be extended by a path", None));
        }
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            // Schemas are asked for so rarely that a kept connection would be found closed.
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .build()
            .map_err(|e| wrong("no client can be made", Some(e.into())))?;
        Ok(Self { settings, base, client, runtime, cache: Mutex::default() })
    }

    /// The registry's address.
    pub fn url(&self) -> &str {
        &self.settings.url
    }

    /// The schema with this id; `None` when the registry does not know it. Not to be called from async code:
    /// it waits, for a few seconds at most. Safe to repeat; known schemas are cached.
    ///
    /// # Errors
    /// [`RegistryError::Unreachable`]: try again later. The others persist until they are fixed.
    pub fn schema(&self, id: u32) -> Result<Option<Arc<WriterSchema>>, RegistryError> {
        if let Some(cached) = self.cached(id) {
            return Ok(cached);
        }
        let answer = self.ask(&["schemas", "ids", &id.to_string()])?;
        let schema = answer.map(|found| self.with_references(found)).transpose()?.map(Arc::new);
        match &schema {
            Some(schema) => tracing::debug!(id, kind = schema.kind.as_str(), bytes = schema.bytes(), "schema used"),
            None => tracing::debug!(id, "schema unknown"),
        }
        self.cache_schema(id, schema.clone());
        Ok(schema)
    }

    fn cached(&self, id: u32) -> Option<Option<Arc<WriterSchema>>> {
        let cache = self.cache.lock();
        let unknown = cache.unknown.get(&id).is_some_and(|at| at.elapsed() < UNKNOWN_FOR);
        cache.known.get(&id).map(|schema| Some(Arc::clone(schema))).or(unknown.then_some(None))
    }

    fn cache_schema(&self, id: u32, schema: Option<Arc<WriterSchema>>) {
        let mut cache = self.cache.lock();
        let Some(schema) = schema else {
            if cache.unknown.len() >= UNKNOWN_IDS {
                cache.unknown.clear();
            }
            cache.unknown.insert(id, Instant::now());
            return;
        };
        if cache.known.len() >= SCHEMAS || cache.bytes + schema.bytes() > SCHEMA_BYTES {
            cache.known.clear();
            cache.bytes = 0;
        }
        cache.bytes += schema.bytes();
        cache.known.insert(id, schema);
    }

    fn with_references(&self, found: SchemaBody) -> Result<WriterSchema, RegistryError> {
        let kind = match found.kind.as_deref() {
            None | Some("AVRO") => SchemaKind::Avro,
            Some("JSON") => SchemaKind::Json,
            Some(other) => SchemaKind::Other(other.to_owned()),
        };
        let (mut texts, mut seen) = (Vec::new(), Vec::new());
        // A JSON message is read by the declared fields; its schema's parts are of no use to that.
        if kind == SchemaKind::Avro {
            self.collect(found.references.unwrap_or_default(), &mut texts, &mut seen)?;
        }
        Ok(WriterSchema { kind, text: found.schema, references: texts })
    }

    /// Gathers the texts of `references`, each after those that it refers to itself.
    fn collect(
        &self,
        references: Vec<SchemaReference>,
        texts: &mut Vec<String>,
        seen: &mut Vec<SchemaReference>,
    ) -> Result<(), RegistryError> {
        for reference in references {
            if seen.contains(&reference) {
                continue;
            }
            if seen.len() == REFERENCES {
                let reason = format!("one schema refers to more than {REFERENCES} others");
                return Err(RegistryError::Refused { url: self.settings.url.clone(), reason });
            }
            seen.push(reference.clone());
            let version = reference.version.to_string();
            // A missing part is found, and named, when the whole schema is parsed.
            if let Some(found) = self.ask(&["subjects", &reference.subject, "versions", &version])? {
                self.collect(found.references.unwrap_or_default(), texts, seen)?;
                texts.push(found.schema);
            }
        }
        Ok(())
    }

    fn ask(&self, path: &[&str]) -> Result<Option<SchemaBody>, RegistryError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let at = || self.settings.url.clone();
        let (status, body) = self
            .runtime
            .block_on(self.get(url))
            .map_err(|e| RegistryError::Unreachable { url: at(), reason: UnreachableReason::Request(e) })?;
        match classify(status, &body) {
            RegistryAnswer::Found(found) => Ok(Some(found)),
            RegistryAnswer::Unknown => Ok(None),
            RegistryAnswer::Busy(text) => {
                Err(RegistryError::Unreachable { url: at(), reason: UnreachableReason::Answer(text) })
            }
            RegistryAnswer::Denied(reason) => Err(RegistryError::Denied { url: at(), reason }),
            RegistryAnswer::Refused(reason) => Err(RegistryError::Refused { url: at(), reason }),
        }
    }

    async fn get(&self, url: Url) -> reqwest::Result<(u16, Vec<u8>)> {
        let mut request =
            self.client.get(url).header(ACCEPT, "application/vnd.schemaregistry.v1+json, application/json");
        if let Some((user, password)) = &self.settings.user {
            request = request.basic_auth(user, Some(password.expose()));
        }
        let mut response = request.send().await?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES {
                // What is cut off is no JSON, and refused as such.
                break;
            }
        }
        Ok((status, body))
    }
}
