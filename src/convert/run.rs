//! Runs a plan: unfinished files with a journal, then sync, certificate, rename.
//!
//! Invariants: under a final name there is never a file that is not whole; what a job wrote before it was interrupted
//! is used again only if its bytes are as noted; the bytes do not depend on threads, interruptions or instruction sets.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lapwing_quant::kernels::Kernels;
use lapwing_quant::threads::{Pool, Team};

use super::journal::Journal;
use super::rows::{Failure, Payloads, Work};
use super::sink::{Handle, Sink, lock, sync_directory, write_error};
use super::{Plan, Planned, header, space};
use crate::error::{Context, Error, ErrorKind, Result};

/// How far a job has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The tensor at hand.
    pub tensor: &'a str,
    /// Its format, before and after.
    pub types: (&'static str, &'static str),
    /// Which tensor it is, from 1, and of how many.
    pub number: (usize, usize),
    /// Bytes of the source that are done, and in all.
    pub bytes: (u64, u64),
}

/// How to run a plan.
pub struct Job<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The file to write; of several, what their names begin with.
    pub output: &'a Path,
    /// Whether to go on where an interrupted job stopped.
    pub resume: bool,
    /// The threads.
    pub pool: &'a Pool,
    /// The kernels; they do not change the result.
    pub kernels: &'static Kernels,
}

/// Measures a file that is whole but not yet renamed, and puts the figures where the plan has reserved room for them.
pub type Certify<'a> = &'a mut dyn FnMut(&Path) -> Result<()>;

/// How a job ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Done(Report),
    /// `progress` said to stop; what is written is kept for [`Job::resume`].
    Stopped,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Bytes that an interrupted job had written.
    pub resumed: u64,
    /// Tensors with values beyond their format's range, and how many blocks of them.
    pub clamped: Vec<(String, usize)>,
}

/// The final name of file `number` of `count`.
pub fn file_name(output: &Path, number: usize, count: usize) -> PathBuf {
    if count == 1 {
        return output.to_path_buf();
    }
    let name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".gguf").unwrap_or(&name);
    output.with_file_name(format!("{stem}-{:05}-of-{count:05}.gguf", number + 1))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    path.with_file_name(name)
}

impl Job<'_> {
    /// Runs it. `progress` is called after each slab of rows and may stop the job; `certify` is called when the file is
    /// whole, before it gets its name.
    ///
    /// # Errors
    /// Names what could not be read or written. After an error of the source nothing is left behind; after one of
    /// writing the unfinished files stay for [`Job::resume`].
    pub fn run(
        &self,
        progress: &mut (dyn FnMut(Progress<'_>) -> bool + Send),
        certify: Option<Certify<'_>>,
    ) -> Result<Outcome> {
        let count = self.plan.files.len();
        let finals: Vec<PathBuf> = (0..count).map(|n| file_name(self.output, n, count)).collect();
        self.check_targets(&finals)?;
        let parts: Vec<PathBuf> = finals.iter().map(|path| beside(path, ".part")).collect();
        let mut journal = Journal::open(&beside(&finals[0], ".part.log"))?;
        let there = self.prepare(&mut journal, &finals, &parts)?;
        let resumed: u64 = there.iter().sum();
        let log = journal.path().to_path_buf();
        if let Err(e) = space::check(self.output, self.plan.bytes().saturating_sub(resumed)) {
            if resumed == 0 {
                remove(&[log]);
            }
            return Err(e);
        }
        let mut report = Report { files: finals.clone(), resumed, clamped: Vec::new() };
        let journal = Mutex::new(journal);
        let written = self.write_all(&parts, &there, &journal, progress, &mut report);
        match written {
            Ok(()) => {}
            Err(Failure::Stopped) => return Ok(Outcome::Stopped),
            Err(Failure::Error(e)) => {
                if e.kind() == ErrorKind::File {
                    remove(&parts);
                    remove(&[log]);
                }
                return Err(e);
            }
        }
        if let Some(certify) = certify {
            let what = || format!("{} is whole, but not certified", parts[0].display());
            certified(&parts, &finals, certify).context_with(what)?;
        }
        for (part, path) in parts.iter().zip(&finals).filter(|(part, _)| part.exists()) {
            let shown = path.display();
            fs::rename(part, path).map_err(|e| {
                Error::runtime(format!("{shown}: is written as {} but cannot be renamed: {e}", part.display()))
            })?;
        }
        sync_directory(&finals[0]);
        drop(journal);
        remove(&[log]);
        Ok(Outcome::Done(report))
    }

    /// The output must be a place for a file, and none of the files that are read.
    fn check_targets(&self, finals: &[PathBuf]) -> Result<()> {
        for path in finals {
            let shown = path.display();
            if path.is_dir() {
                return Err(Error::usage(format!("{shown}: is a directory, expected a name for the new file")));
            }
            let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !dir.is_dir() {
                return Err(Error::file(format!("{shown}: cannot be written: {} is no directory", dir.display())));
            }
            let Ok(real) = path.canonicalize() else { continue };
            if self.plan.source.files.iter().any(|(read, _)| read.canonicalize().is_ok_and(|read| read == real)) {
                return Err(Error::usage(format!(
                    "{shown}: is the model to be read; give another name for the new one"
                )));
            }
        }
        Ok(())
    }

    /// Finds what an interrupted job left, if that is wanted, and clears the rest away. Gives the bytes of each part
    /// that are there.
    fn prepare(&self, journal: &mut Journal, finals: &[PathBuf], parts: &[PathBuf]) -> Result<Vec<u64>> {
        let id = self.plan.id()?;
        if self.resume {
            // A job killed among its renames has some files under their final names.
            let renamed = |(part, path): (&PathBuf, &PathBuf)| if part.exists() { part.clone() } else { path.clone() };
            let files: Vec<PathBuf> = parts.iter().zip(finals).map(renamed).collect();
            if let Some(found) = journal.verified(&id, &files)? {
                let whole = |(n, bytes): (usize, &u64)| parts[n].exists() || *bytes == self.plan.files[n].bytes;
                let usable = found.iter().enumerate().map(|(n, bytes)| if whole((n, bytes)) { *bytes } else { 0 });
                return Ok(usable.collect());
            }
        }
        remove(parts);
        journal.begin(&id)?;
        Ok(vec![0; parts.len()])
    }

    fn write_all(
        &self,
        parts: &[PathBuf],
        there: &[u64],
        journal: &Mutex<Journal>,
        progress: &mut (dyn FnMut(Progress<'_>) -> bool + Send),
        report: &mut Report,
    ) -> std::result::Result<(), Failure> {
        let plan = self.plan;
        let mut done = 0;
        let mut tell = |planned: &Planned, weights: u64| {
            let tensor = plan.source_of(planned);
            done += weights * tensor.bytes() as u64 / tensor.elements() as u64;
            let number = plan.tensors.iter().position(|p| p.source == planned.source).unwrap_or(0) + 1;
            progress(Progress {
                tensor: &tensor.name,
                types: (tensor.dtype.name(), planned.dtype.name()),
                number: (number, plan.tensors.len()),
                bytes: (done, plan.source_bytes()),
            })
        };
        self.pool.enter(self.pool.threads(), |team| {
            for (number, (part, &there)) in parts.iter().zip(there).enumerate() {
                if there == plan.files[number].bytes {
                    continue;
                }
                let file = open_at(part, there).map_err(Failure::Error)?;
                let copy = file.try_clone().map_err(|e| Failure::Error(write_error(part, &e)))?;
                let sink = Mutex::new(Sink::new(Box::new(copy), part, number, there, journal));
                self.write_file(number, &sink, team, &mut tell, report)?;
                file.sync_all().map_err(|e| Failure::Error(write_error(part, &e)))?;
            }
            Ok(())
        })
    }

    fn write_file(
        &self,
        number: usize,
        sink: &Mutex<Sink<'_>>,
        team: &Team<'_>,
        progress: &mut dyn FnMut(&Planned, u64) -> bool,
        report: &mut Report,
    ) -> std::result::Result<(), Failure> {
        let (plan, file) = (self.plan, &self.plan.files[number]);
        let (mut writer, infos) = header::write(plan, file, Handle(sink)).map_err(Failure::Error)?;
        let (kernels, slab) = (self.kernels, Vec::new());
        let mut work = Work { plan, team, kernels, sink, progress, clamped: 0, failure: None, slab };
        let flush = |all: bool| {
            let ready = lock(sink).ready(all);
            lock(sink).commit(&ready).map_err(Failure::Error)
        };
        for (planned, info) in plan.tensors[file.tensors.clone()].iter().zip(&infos) {
            let result = writer.write_tensor_data_chunked(info, Payloads::new(&mut work, planned));
            if let Err(e) = result {
                let failure = work.failure.take();
                if matches!(failure, Some(Failure::Stopped)) {
                    flush(true)?;
                }
                let what = || Failure::Error(Error::runtime(format!("{}: cannot be written: {e}", info.name())));
                return Err(failure.unwrap_or_else(what));
            }
            if work.clamped > 0 {
                report.clamped.push((info.name().to_owned(), work.clamped));
            }
        }
        let failed = |e: &dyn std::fmt::Display| Failure::Error(Error::runtime(format!("the file's end: {e}")));
        writer.finalize().map_err(|e| failed(&e))?;
        let padding = file.bytes - writer.position();
        let zeros = [0; header::ALIGNMENT as usize];
        Handle(sink).write_all(&zeros[..padding as usize]).map_err(|e| failed(&e))?;
        flush(true)
    }
}

/// Has the unfinished file certified. The files of a split model find each other by their names, so they get second ones
/// for that time, in a folder of their own; the figures go into the first.
fn certified(parts: &[PathBuf], finals: &[PathBuf], certify: Certify<'_>) -> Result<()> {
    if let [part] = parts {
        return certify(part);
    }
    let beside = finals[0].parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |e: std::io::Error| {
        let shown = beside.display();
        Error::file(format!("{shown}: files cannot have second names here, which certifying a split model takes: {e}"))
    };
    let dir = tempfile::Builder::new().prefix(".lapwing-split-").tempdir_in(beside).map_err(failed)?;
    let named = |path: &PathBuf| dir.path().join(path.file_name().unwrap_or_default());
    for (part, path) in parts.iter().zip(finals) {
        // A job killed among its renames has some files under their final names.
        fs::hard_link(if part.exists() { part } else { path }, named(path)).map_err(failed)?;
    }
    certify(&named(&finals[0]))
}

/// Opens an unfinished file to go on at `there`, what comes after cut off.
fn open_at(part: &Path, there: u64) -> Result<File> {
    let open = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(part)?;
        file.set_len(there)?;
        file.seek(SeekFrom::Start(there))?;
        Ok(file)
    };
    open().map_err(|e: std::io::Error| Error::file(format!("{}: cannot be written: {e}", part.display())))
}

/// Removes files that may not be there.
fn remove(files: &[PathBuf]) {
    for path in files {
        let _absent_is_fine = fs::remove_file(path);
    }
}
