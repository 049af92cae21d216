//! A program in a real pseudo-terminal: what is typed, what its screen shows, and all that it ever wrote.
//!
//! Include it with `#[path = "common/terminal.rs"] mod terminal;`.
#![allow(dead_code)] // each test crate uses a part

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait for what must come; only a program that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Rows and columns when nothing is to scroll away.
const TALL: (u16, u16) = (500, 100);
/// Variables of the tester's own that change what is shown.
const PRIVATE: [&str; 3] = ["NO_COLOR", "VISUAL", "EDITOR"];

/// What the terminal shows, and all bytes it ever got.
pub struct Shown {
    /// The screen.
    pub screen: vt100::Parser,
    /// The bytes.
    pub log: Vec<u8>,
}

impl Shown {
    /// All rows, as text.
    pub fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// The row that the cursor is in, without the blanks at its end, and the cursor's column.
    pub fn line(&self) -> (String, usize) {
        let (row, column) = self.screen.screen().cursor_position();
        let (_, columns) = self.screen.screen().size();
        let text = self.screen.screen().rows(0, columns.get()).nth(usize::from(row)).unwrap_or_default();
        (text.trim_end().to_owned(), usize::from(column))
    }
}

/// A program at work.
pub struct Terminal {
    shown: Arc<Mutex<Shown>>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    /// How the terminal was before.
    modes: String,
}

impl Terminal {
    /// Starts a program on a terminal of 100 columns and 500 rows, so that nothing scrolls away.
    pub fn start(program: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::of_size(TALL, program, args, env)
    }

    /// Starts a program on a terminal of this many rows and columns.
    pub fn of_size((rows, cols): (u16, u16), program: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let size = PtySize { rows, cols, ..PtySize::default() };
        let pty = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(program);
        command.args(args);
        PRIVATE.iter().for_each(|name| command.env_remove(name));
        command.env("TERM", "xterm-256color");
        env.iter().for_each(|(name, value)| command.env(name, value));
        let modes = modes(&*pty.master);
        let child = pty.slave.spawn_command(command).expect("the program starts");
        drop(pty.slave);
        let many = |n| NonZero::new(n).expect("a terminal has rows and columns");
        let screen = vt100::Parser::new(many(rows), many(cols), 0);
        let shown = Arc::new(Mutex::new(Shown { screen, log: vec![] }));
        let mut output = pty.master.try_clone_reader().expect("its output");
        let keyboard = pty.master.take_writer().expect("its input");
        let copy = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let mut shown = copy.lock().unwrap_or_else(PoisonError::into_inner);
                shown.screen.process(&bytes[..read]);
                shown.log.extend_from_slice(&bytes[..read]);
            }
        });
        Self { shown, keyboard, child, master: pty.master, modes }
    }

    /// Types.
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush()).expect("it reads");
    }

    /// Screen and bytes as they are now.
    pub fn look(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the screen shows.
    pub fn shown(&self) -> String {
        self.look().text()
    }

    /// Waits until the terminal is so; panics with the screen when that does not come.
    pub fn waits(&mut self, what: &str, is_so: impl Fn(&Shown) -> bool) {
        let started = Instant::now();
        while !is_so(&self.look()) {
            let ended = self.child.try_wait().expect("it can be asked").is_some();
            if ended || started.elapsed() > PATIENCE {
                // What it wrote last may be on its way.
                std::thread::sleep(Duration::from_millis(200));
                let shown = self.look();
                let state = if ended { "has ended" } else { "goes on" };
                let (text, cursor) = (shown.text(), shown.screen.screen().cursor_position());
                assert!(
                    is_so(&shown),
                    "waiting for {what} (the program {state}), the cursor at {cursor:?} of:\n{text}"
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the screen's text is so, and gives it.
    pub fn waits_until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        self.waits(what, |shown| is_so(&shown.text()));
        self.shown()
    }

    /// Waits until a text is shown.
    pub fn waits_for(&mut self, text: &str) -> String {
        self.waits_until(text, |shown| shown.contains(text))
    }

    /// Waits until the program has ended; the terminal must be as it was before.
    pub fn ends(mut self) -> (ExitStatus, String) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                std::thread::sleep(Duration::from_millis(50));
                assert_eq!(modes(&*self.master), self.modes, "the terminal is as before");
                return (status, self.shown());
            }
            assert!(started.elapsed() < PATIENCE, "it does not end; the screen:\n{}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The settings of a terminal, where the system has such.
fn modes(master: &dyn MasterPty) -> String {
    #[cfg(unix)]
    return format!("{:?}", master.get_termios());
    #[cfg(not(unix))]
    {
        let _ = master;
        String::new()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed must not leave the program running.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
