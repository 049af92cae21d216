//! Which mode a conversation is in: the switch of the request, and the soft switches in its messages.

use super::message::Request;

/// Whether the model reasons before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `<think>` comes first.
    Thinking,
    /// The answer comes at once.
    NonThinking,
}

/// The mode in force for the answer to `request`, as the Qwen3 card defines it: `enable_thinking=false` beats all;
/// else the last `/think` or `/no_think` in a user or system message wins; else the model thinks.
pub fn mode_in_force(request: &Request) -> Mode {
    if request.thinking_switch() == Some(false) {
        return Mode::NonThinking;
    }
    let speaks = |role: &str| role == "user" || role == "system";
    let switches = request.messages.iter().rev().filter(|m| speaks(m.role())).filter_map(|m| soft_switch(m.content()));
    switches.into_iter().next().unwrap_or(Mode::Thinking)
}

/// The last soft switch in `text`. It stands alone: white space or nothing before it, and after it nothing that would
/// make it part of a word or a path.
pub fn soft_switch(text: &str) -> Option<Mode> {
    let free_before = |at: usize| text[..at].chars().next_back().is_none_or(char::is_whitespace);
    let free_after = |at: usize| {
        text[at..].chars().next().is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '/' | '-' | '='))
    };
    let last = |switch: &str| {
        text.rmatch_indices(switch).map(|(at, _)| at).find(|&at| free_before(at) && free_after(at + switch.len()))
    };
    match (last("/think"), last("/no_think")) {
        (None, None) => None,
        (on, off) => Some(if on > off { Mode::Thinking } else { Mode::NonThinking }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Message;

    fn mode(enable_thinking: Option<bool>, messages: &[(&str, &str)]) -> Mode {
        let messages = messages.iter().map(|(role, content)| Message::new(role, *content)).collect();
        mode_in_force(&Request { enable_thinking, ..Request::new(messages) })
    }

    #[test]
    fn the_last_switch_wins_and_the_hard_one_beats_it() {
        use Mode::{NonThinking, Thinking};
        assert_eq!(mode(None, &[("user", "hi")]), Thinking);
        assert_eq!(mode(None, &[("user", "hi /no_think")]), NonThinking);
        assert_eq!(mode(Some(true), &[("user", "hi /no_think")]), NonThinking);
        assert_eq!(mode(Some(false), &[("user", "hi /think")]), NonThinking);
        assert_eq!(mode(None, &[("user", "/no_think"), ("assistant", "x"), ("user", "more /think")]), Thinking);
        assert_eq!(mode(None, &[("user", "/no_think"), ("assistant", "/think"), ("user", "more")]), NonThinking);
        assert_eq!(mode(None, &[("system", "/no_think"), ("user", "x"), ("tool", "/think")]), NonThinking);
        assert_eq!(mode(None, &[("system", "/no_think"), ("user", "x /think")]), Thinking);
        assert_eq!(mode(None, &[("user", "/think then /no_think.")]), NonThinking);
        assert_eq!(mode(None, &[("user", "/no_think\n/think")]), Thinking);
    }

    #[test]
    fn a_switch_stands_alone() {
        for text in ["a/no_think", "/no_thinking", "/no_think/x", "//no_think", "see http://x/no_think", "/no_think_"] {
            assert_eq!(mode(None, &[("user", text)]), Mode::Thinking, "{text}");
        }
        for text in ["/no_think", "x\n/no_think\n", "好 /no_think。", "/no_think, please"] {
            assert_eq!(mode(None, &[("user", text)]), Mode::NonThinking, "{text}");
        }
    }

    #[test]
    fn the_kwargs_can_hold_the_hard_switch() {
        let mut request = Request::new(vec![Message::new("user", "/think")]);
        request.kwargs.insert("enable_thinking".into(), false.into());
        assert_eq!(mode_in_force(&request), Mode::NonThinking);
        request.enable_thinking = Some(true);
        assert_eq!(mode_in_force(&request), Mode::Thinking, "the request's own field comes first");
    }
}
