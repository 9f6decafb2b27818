use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell that waits for our end.
///
/// It reads from a pipe that only we hold open. If we end without a word, killed with SIGKILL or by a
/// crash, the pipe closes: it kills PHP-FPM's process group and removes our folder. PR_SET_PDEATHSIG would
/// reach the master, never its workers, and removes no file.
#[derive(Debug)]
pub struct Warden {
    shell: Child,
    orders: ChildStdin,
}

const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
group=
while read -r word value; do
    case $word in
        group) group=$value ;;
        done) exit 0 ;;
    esac
done
if [ -n "$group" ]; then kill -s KILL -- "-$group"; fi
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

    /// Names the process group to kill, or that there is none now.
    pub fn guard(&mut self, group: Option<u32>) {
        let order = group.map_or_else(|| "group\n".to_owned(), |group| format!("group {group}\n"));
        if let Err(error) = self.orders.write_all(order.as_bytes()) {
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
