//! How files are sent, as far as it is a matter of configuration.

use std::time::Duration;

use clap::{Args, ValueEnum};
use common::config::{ByteSize, ConfigError, HumanDuration};
use http::HeaderValue;

use super::content_type::{Kind, OwnType, Types};
use super::{Coding, FileCache};

/// The options for files.
#[derive(Debug, Clone, Args)]
pub struct FileOptions {
    /// Compressed forms of a file (style.css.br, .zst, .gz) that are sent in its place, the first of those
    /// that a client likes best; or off.
    #[arg(long, value_enum, value_name = "CODING", default_values = ["br", "zstd", "gzip"], value_delimiter = ',')]
    pub precompressed: Vec<Precompressed>,
    /// Tell browsers that files whose names hold a hash of their content never change: auto (those that keep
    /// for a year anyhow), on (all of them, and for a year), off.
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub immutable: Immutable,
    /// Types of files beside those that are known, or in their place: EXTENSION=TYPE.
    #[arg(long, value_name = "EXTENSION=TYPE", value_delimiter = ',')]
    pub types: Vec<OwnType>,
    /// How much memory small files may take, so that they need not be opened and read for each request; 0 for none.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub file_cache: ByteSize,
    /// For how long what was found of a file, a script or a directory is good without asking the file system again.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub file_cache_valid: HumanDuration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precompressed {
    Br,
    Zstd,
    Gzip,
    Off,
}

/// Which files with a hash in their name are `immutable` (RFC 8246).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Immutable {
    /// Those that keep for a year anyhow.
    Auto,
    /// All of them, and for a year.
    On,
    Off,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) types: Types,
    /// The forms to look for, in the order that counts among equals.
    pub(super) precompressed: Vec<Coding>,
    pub(super) immutable: Immutable,
    /// Bytes of memory for small files.
    pub(super) cache: u64,
    pub(super) cache_valid: Duration,
}

impl Settings {
    pub fn resolve(options: FileOptions) -> Result<Self, ConfigError> {
        let FileOptions { precompressed, immutable, types, file_cache, file_cache_valid } = options;
        let coding = |named: &Precompressed| match named {
            Precompressed::Br => Some(Coding::Brotli),
            Precompressed::Zstd => Some(Coding::Zstd),
            Precompressed::Gzip => Some(Coding::Gzip),
            Precompressed::Off => None,
        };
        let codings: Vec<Coding> = precompressed.iter().filter_map(coding).collect();
        if codings.len() != precompressed.len() && precompressed.len() > 1 {
            return Err(ConfigError::Conflict("precompressed: off stands alone".into()));
        }
        let (cache, cache_valid) = (file_cache.bytes(), file_cache_valid.get());
        Ok(Self { types: Types(types), precompressed: codings, immutable, cache, cache_valid })
    }

    /// An empty cache of small files.
    pub fn file_cache(&self) -> FileCache {
        FileCache::new(self.cache, self.cache_valid)
    }

    /// The type of files of this name, and what they are encoded with on the disk, where no rule says otherwise.
    pub fn kind_of(&self, path: &[u8]) -> (HeaderValue, Option<HeaderValue>) {
        let Kind { media_type, coding, .. } = self.types.of(path);
        (media_type, coding)
    }

    /// Whether what lies compressed with gzip beside a file is sent in its place.
    pub fn sends_gzip(&self) -> bool {
        self.precompressed.contains(&Coding::Gzip)
    }
}
