//! What is shown on request: help, the model, the values in force, prompts, the context. Results, so on standard
//! output.

use super::commands::{self, Show, Usage, table};
use super::stats::count;
use super::turn::preset_mode;
use super::{Chat, Outcome};
use crate::chat::{Message, Mode, soft_switch};
use crate::cli::output;
use crate::error::{Error, Result};
use crate::tokenizer::Specials;
use std::fmt::Write;

/// Help on everything, or on `set`, `show` or `keys`.
///
/// # Errors
/// For another word.
pub fn help(about: Option<&str>) -> Result<String> {
    match about.map(|word| word.trim_start_matches('/')) {
        None => Ok(table("Commands:", commands::COMMANDS)
            + "A message that ends in /think or /no_think switches for its turn.\n"),
        Some("set") => Ok(table("Settings:", commands::SETTINGS)),
        Some("show") => Ok(table("What can be shown:", commands::SHOWN)),
        Some("keys" | "shortcuts") => Ok(table("Keys:", commands::KEYS)),
        Some(other) => {
            let rows = [commands::COMMANDS, commands::SETTINGS, commands::SHOWN].into_iter().flatten();
            let found: Vec<&Usage> =
                rows.filter(|u| u.usage.split([' ', ',']).any(|w| w == format!("/{other}"))).collect();
            if found.is_empty() {
                return Err(Error::usage(format!("there is no help on {other:?}; /? lists the commands")));
            }
            Ok(found.iter().map(|u| format!("  {}  {}\n", u.usage, u.help)).collect())
        }
    }
}

impl Chat {
    /// `/show`.
    pub(super) fn show(&self, what: Show) -> Outcome {
        let text = match what {
            Show::Info => self.info(),
            Show::Parameters => self.parameters()?,
            Show::System => match &self.talk.system {
                Some(text) => text.clone() + "\n",
                None => return nothing("there is no system prompt"),
            },
            Show::Template => self.template.source().to_owned() + "\n",
            Show::Prompt => match &self.last_prompt {
                Some(text) => text.clone() + "\n",
                None => return nothing("there was no prompt yet"),
            },
        };
        output::result(&text)
    }

    fn info(&self) -> String {
        let (config, (keys, values)) = (self.engine.config(), self.engine.kv_type_names());
        let (threads, batch) = self.engine.threads();
        let name = self.gguf.meta().str("general.name").ok().flatten().unwrap_or("-");
        format!(
            "name          {name}\nfile          {}\narchitecture  {}, {} layers\nparameters    {}, {:.2} bits each\n\
             context       {} tokens (made for {})\ncache         keys {keys}, values {values}\n\
             running on    {}, {threads} threads ({batch} for prompts)\n",
            self.gguf.path().display(),
            config.arch.name(),
            config.n_layers,
            count(usize::try_from(self.gguf.total_parameters()).unwrap_or(usize::MAX)),
            self.gguf.bits_per_weight(),
            count(self.engine.n_ctx()),
            count(config.n_ctx_train),
            self.engine.kernels().name,
        )
    }

    fn parameters(&self) -> Result<String> {
        let mode = self.mode();
        let resolved = self.settings.resolve(preset_mode(mode), &self.gguf)?;
        let name = if mode == Mode::Thinking { "thinking" } else { "non-thinking" };
        Ok(format!("{:<18} {name} ({})\n{}", "mode", self.why_mode(mode), self.settings.report(&resolved)))
    }

    /// Why a mode is in force.
    fn why_mode(&self, mode: Mode) -> &'static str {
        let request = self.request(&self.talk);
        let speaks = |m: &&Message| m.role() == "user" || m.role() == "system";
        let switch = request.messages.iter().rev().filter(speaks).find_map(|m| soft_switch(m.content()));
        match (request.thinking_switch(), switch) {
            (Some(false), _) => "/no_think, --no-think, enable_thinking or a budget of 0",
            (_, Some(soft)) if soft == mode => "the last switch in a message",
            (Some(true), _) => "/think, --think or enable_thinking",
            _ => "the model's default",
        }
    }

    /// `/ctx`.
    pub(super) fn context(&self) -> Outcome {
        let n_ctx = self.engine.n_ctx();
        let mut out = String::new();
        let mut line = |what: &str, tokens: usize| {
            let _infallible = writeln!(out, "{what:<46} {:>9}", count(tokens));
        };
        let tokens = |text: &str| self.tokenizer.encode(text, Specials::Literal).map(|ids| ids.len());
        let mut told = 0;
        if let Some(text) = &self.talk.system {
            let n = tokens(text)?;
            line("system prompt", n);
            told += n;
        }
        for (i, turn) in self.talk.turns().into_iter().enumerate() {
            let n = turn.messages.iter().map(|m| tokens(m.content())).sum::<Result<usize>>()?;
            let title = title(turn.question());
            if turn.hidden {
                line(&format!("turn {}, not shown to the model: {title}", i + 1), 0);
            } else {
                line(&format!("turn {}: {title}", i + 1), n);
                told += n;
            }
        }
        let mut talk = self.talk.clone();
        if talk.is_empty() {
            talk.ask("");
        }
        let used = self.render_of(&talk)?.1.len();
        line("tools and what the template adds", used.saturating_sub(told));
        line("in all", used);
        line(&format!("free, of a context of {}", count(n_ctx)), n_ctx.saturating_sub(used));
        line("held by the cache", self.cache.tokens().len());
        output::result(&out)
    }

    /// `/stats`.
    pub(super) fn stats(&self) -> Outcome {
        let last = self.last.map(|turn| turn.lines(self.engine.n_ctx()) + "\n").unwrap_or_default();
        output::result(&(last + &self.totals.line() + "\n"))
    }
}

fn nothing(what: &str) -> Outcome {
    output::note(what);
    Ok(())
}

/// The beginning of a question, on one line.
fn title(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    console::truncate_str(&line, 24, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_found_by_any_name() {
        for about in [None, Some("set"), Some("/show"), Some("keys"), Some("regen"), Some("/no_think")] {
            let text = help(about).unwrap();
            assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        }
        assert!(help(Some("regen")).unwrap().contains("again"));
        assert!(help(Some("nonsense")).is_err());
    }
}
