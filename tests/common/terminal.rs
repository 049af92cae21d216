//! A program in a real pseudo-terminal: what is typed, and what its screen shows.

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long to wait for what must come; only a program that hangs meets it.
const LIMIT: Duration = Duration::from_secs(120);
const ROWS: NonZero<u16> = NonZero::new(500).expect("not 0");
const COLUMNS: NonZero<u16> = NonZero::new(100).expect("not 0");

/// A program at work.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    writer: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    /// Starts a program on a terminal of 100 columns and 500 rows, so that nothing scrolls away.
    pub fn start(program: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: ROWS.get(), cols: COLUMNS.get(), ..PtySize::default() };
        let pty = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env("TERM", "xterm-256color");
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).expect("the program starts");
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let mut reader = pty.master.try_clone_reader().expect("a reader");
        let writer = pty.master.take_writer().expect("a writer");
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                shown.lock().expect("no panic").process(&bytes[..n]);
            }
        });
        Self { child, writer, screen, _master: pty.master }
    }

    /// Types.
    pub fn types(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).and_then(|()| self.writer.flush()).expect("it reads");
    }

    /// What the screen shows.
    pub fn shown(&self) -> String {
        self.screen.lock().expect("no panic").screen().contents()
    }

    /// Waits until the screen is so; panics with the screen when that does not come.
    pub fn waits_until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let shown = self.shown();
            if is_so(&shown) {
                return shown;
            }
            assert!(started.elapsed() < LIMIT, "waited in vain for {what}; the screen:\n{shown}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a text is shown.
    pub fn waits_for(&self, text: &str) -> String {
        self.waits_until(text, |shown| shown.contains(text))
    }

    /// Waits until the program has ended.
    pub fn ends(mut self) -> (ExitStatus, String) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                std::thread::sleep(Duration::from_millis(50));
                return (status, self.shown());
            }
            assert!(started.elapsed() < LIMIT, "it does not end; the screen:\n{}", self.shown());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed must not leave the program running.
        let _gone = self.child.kill();
    }
}
