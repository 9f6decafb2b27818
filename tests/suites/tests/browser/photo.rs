//! A picture to upload, as large as a camera's would be on a page: sites make smaller ones of it.

use std::io::Write as _;
use std::path::PathBuf;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use tempfile::TempDir;

pub(crate) const WIDTH: u32 = 1600;
pub(crate) const HEIGHT: u32 = 1000;

/// A PNG file of this name, in a folder that goes with it.
pub(crate) struct Photo {
    folder: TempDir,
    name: &'static str,
}

impl Photo {
    pub(crate) fn take(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), png()).unwrap();
        Self { folder, name }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// What a file field is given.
    pub(crate) fn text(&self) -> String {
        self.path().display().to_string()
    }
}

/// A sky over the sea, with a sun.
fn png() -> Vec<u8> {
    let mut pixels = Vec::with_capacity(((WIDTH * 3 + 1) * HEIGHT) as usize);
    for y in 0..HEIGHT {
        // No filter for this line.
        pixels.push(0);
        let shade = (y * 255 / HEIGHT) as u8;
        for x in 0..WIDTH {
            let distance = x.abs_diff(WIDTH / 2).pow(2) + y.abs_diff(HEIGHT / 3).pow(2);
            let color = match (distance < 150 * 150, y < HEIGHT * 2 / 3) {
                (true, _) => [255, 220, 90],
                (false, true) => [shade, 120 + shade / 2, 230],
                (false, false) => [10, 60 + (x % 64) as u8, 140 - shade / 4],
            };
            pixels.extend_from_slice(&color);
        }
    }
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&pixels).unwrap();
    // Eight bits each of red, green and blue.
    let head = [&WIDTH.to_be_bytes()[..], &HEIGHT.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", head), (b"IDAT", packed.finish().unwrap()), (b"IEND", Vec::new())] {
        let mut sum = Crc::new();
        sum.update(kind);
        sum.update(&data);
        file.extend_from_slice(&(data.len() as u32).to_be_bytes());
        file.extend_from_slice(kind);
        file.extend_from_slice(&data);
        file.extend_from_slice(&sum.sum().to_be_bytes());
    }
    file
}
