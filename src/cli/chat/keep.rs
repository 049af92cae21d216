//! `/save` and `/load`: the conversation and its cache in a file.

use super::{Chat, Outcome, files, saves};
use crate::cli::output::{self, Progress, Unit};
use crate::cli::term::complete::expand_home;
use crate::error::{Error, Result};
use crate::session::{Cache, Saved, SavedCache, SavedChat};
use std::path::PathBuf;

use super::stats::count;

impl Chat {
    /// `/save`: under a name, or the last one used.
    pub(super) fn save(&mut self, name: Option<&str>) -> Outcome {
        let path = match name {
            Some(name) => saves::file(name)?,
            None => self.saved_as.clone().ok_or_else(|| Error::usage("/save needs a name or a path: /save NAME"))?,
        };
        let mut progress = Progress::new("saving", Unit::Bytes);
        let saved = Saved { conversation: &self.talk, settings: self.settings.to_json(), sequence: self.cache.kept() };
        let bytes = saved.write(&path, &self.engine, &self.gguf, &mut |done, all| progress.update(done, all))?;
        drop(progress);
        let turns = self.talk.turns().len();
        output::note(&format!(
            "saved {turns} turns and {} cached tokens, {} kB: {}",
            count(self.cache.tokens().len()),
            count(bytes.div_ceil(1000) as usize),
            path.display()
        ));
        self.saved_as = Some(path);
        Ok(())
    }

    /// `/load`: in place of the present conversation, which stays when the file is not sound. Without a name, lists
    /// the saved ones.
    pub(super) fn load(&mut self, name: Option<&str>) -> Outcome {
        let Some(name) = name else {
            let names = saves::names();
            if names.is_empty() {
                output::note(&format!("there are no saved chats in {}", saves::folder()?.display()));
                return Ok(());
            }
            return output::result(&(names.join("\n") + "\n"));
        };
        self.load_from(saves::file(name)?)?;
        Ok(())
    }

    fn load_from(&mut self, path: PathBuf) -> Result<()> {
        let saved = SavedChat::open(&path)?;
        let talk = saved.conversation()?;
        let (settings, caution) = (saved.settings().clone(), saved.caution(&self.engine));
        self.cache.truncate(&mut self.engine, 0);
        let mut progress = Progress::new("loading", Unit::Bytes);
        let cache = saved.cache(&mut self.engine, &self.gguf, &mut |done, all| progress.update(done, all));
        drop(progress);
        let cached = match cache {
            Ok(SavedCache::Ready(sequence)) => {
                self.cache = Cache::of(sequence);
                let tokens = count(self.cache.tokens().len());
                caution.iter().for_each(|c| output::warn(c));
                format!("{tokens} cached tokens")
            }
            Ok(SavedCache::Unusable(why)) => {
                output::warn(&format!("the saved cache cannot be used: {why}; the conversation is read anew"));
                "no cache".to_owned()
            }
            Err(e) => return Err(e),
        };
        self.talk = talk;
        self.attached.clear();
        self.last_prompt = None;
        for why in self.settings.restore(&settings) {
            output::warn(&format!("a saved setting is left out: {why}"));
        }
        output::note(&format!("loaded {} turns and {cached}: {}", self.talk.turns().len(), path.display()));
        self.saved_as = Some(path);
        Ok(())
    }

    /// `/read`.
    pub(super) fn attach(&mut self, typed: &str) -> Outcome {
        let file = files::Attached::read(&expand_home(typed))?;
        self.take(vec![file])
    }

    /// `/glob`.
    pub(super) fn attach_all(&mut self, pattern: &str) -> Outcome {
        let (found, left_out) = files::glob(pattern)?;
        left_out.iter().for_each(|why| output::warn(&format!("left out: {why}")));
        self.take(found)
    }

    fn take(&mut self, found: Vec<files::Attached>) -> Outcome {
        for file in found {
            let tokens = self.tokenizer.encode(&file.to_message(), crate::tokenizer::Specials::Literal)?.len();
            output::note(&format!("{}: {} tokens, before your next message", file.name, count(tokens)));
            self.attached.push(file);
        }
        Ok(())
    }
}
