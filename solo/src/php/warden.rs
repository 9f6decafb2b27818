use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::group::Group;

/// A shell that waits for our end.
///
/// It reads from a pipe that only we hold open. If we end without a word, killed with SIGKILL or by a
/// crash, the pipe closes: it kills PHP-FPM's process groups and removes our folder. PR_SET_PDEATHSIG would
/// reach the master, never its workers, and removes no file.
#[derive(Debug)]
pub struct Warden {
    shell: Child,
    orders: ChildStdin,
}

const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
groups=
while read -r word value; do
    case $word in
        guard) groups="$groups $value" ;;
        release)
            kept=
            for group in $groups; do
                [ "$group" = "$value" ] || kept="$kept $group"
            done
            groups=$kept
            ;;
        done) exit 0 ;;
    esac
done
for group in $groups; do
    kill -s KILL -- "-$group"
done
rm -rf -- "$1"
"#;

impl Warden {
    pub fn post(folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "enjambre-warden"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal is for us alone.
            .process_group(0)
            .spawn()?;
        let orders = shell.stdin.take().ok_or_else(|| io::Error::other("the shell has no standard input"))?;
        Ok(Self { shell, orders })
    }

    /// Names a process group to kill.
    pub(super) fn guard(&mut self, group: Group) {
        self.order("guard", group);
    }

    /// A group that is gone: its number may belong to somebody else soon.
    pub(super) fn release(&mut self, group: Group) {
        self.order("release", group);
    }

    fn order(&mut self, word: &str, group: Group) {
        if let Err(error) = writeln!(self.orders, "{word} {}", group.id()) {
            tracing::warn!(%error, "the warden is gone: after a SIGKILL PHP-FPM would stay behind");
        }
    }

    /// Everything is cleared up: the shell ends.
    pub fn dismiss(mut self) {
        // It may have been killed before us: then there is nobody to tell.
        let _ = self.orders.write_all(b"done\n");
        let _ = self.shell.wait();
    }
}
