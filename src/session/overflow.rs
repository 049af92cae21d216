//! What to leave out of a conversation that does not fit the context, told in full.
//!
//! System prompt and tools always stay. Thoughts go first, then whole turns, the oldest first; the last turn stays, as
//! without it there would be nothing to answer. What is left out of the prompt stays in the record of the conversation.

use super::Conversation;
use crate::error::{Error, Result};

/// Of the context, the part that is kept free for the answer when turns are dropped: one in so many.
const ANSWER_SHARE: usize = 4;

/// What was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// One line each, in the order they went.
    pub what: Vec<String>,
}

/// The most tokens a prompt may have so that there is room for an answer of `predict` tokens, or else of a quarter of
/// the context.
pub fn room(n_ctx: usize, predict: Option<usize>) -> usize {
    let share = n_ctx / ANSWER_SHARE;
    n_ctx - predict.map_or(share, |n| n.min(share)).max(1).min(n_ctx)
}

/// Hides the oldest turns until the prompt has at most `room` tokens; `count` counts the tokens of a conversation's
/// prompt. The conversation is changed only where that succeeds.
///
/// # Errors
/// When system prompt, tools and the last turn alone do not fit `n_ctx`; or `count` fails.
pub fn drop_oldest(
    conversation: &mut Conversation,
    room: usize,
    n_ctx: usize,
    count: &mut dyn FnMut(&Conversation) -> Result<usize>,
) -> Result<Dropped> {
    let mut next = conversation.clone();
    let mut dropped = Dropped::default();
    let mut tokens = count(&next)?;
    if tokens > room && next.hide_thoughts() {
        let fewer = count(&next)?;
        if fewer < tokens {
            dropped.what.push(format!("the thoughts of the last turn: {} tokens", tokens - fewer));
        }
        tokens = fewer;
    }
    while tokens > room {
        let oldest = next.turns().iter().position(|t| !t.hidden);
        let title = oldest.map(|i| (i + 1, excerpt(next.turns()[i].question())));
        if !next.hide_oldest() {
            break;
        }
        let fewer = count(&next)?;
        if let Some((number, question)) = title {
            dropped.what.push(format!("turn {number}, \"{question}\": {} tokens", tokens.saturating_sub(fewer)));
        }
        tokens = fewer;
    }
    if tokens >= n_ctx {
        return Err(Error::limit(format!(
            "system prompt, tools and the last message alone have {tokens} tokens, the context {n_ctx}; shorten them, \
             or start with -c {} or more",
            tokens + n_ctx / ANSWER_SHARE
        )));
    }
    *conversation = next;
    Ok(dropped)
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    const MOST: usize = 40;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST { line } else { line.chars().take(MOST).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::Opening;
    use super::*;
    use crate::chat::Message;

    /// Counts characters of all messages that are shown.
    fn count(talk: &Conversation) -> Result<usize> {
        let shown = talk.request().messages;
        Ok(shown.iter().map(|m| m.content().len() + m.reasoning().map_or(0, str::len)).sum())
    }

    fn talk() -> Conversation {
        let mut talk: Conversation = Opening { system: Some("S".repeat(10)), ..Opening::default() }.into();
        for text in ["first\nquestion", "second", "third"] {
            talk.ask(text);
            talk.push(Message::new("assistant", "a".repeat(20)));
        }
        talk.ask("last");
        talk
    }

    #[test]
    fn the_oldest_turns_go_and_are_named() {
        let mut talk = talk();
        assert_eq!(count(&talk).unwrap(), 99);
        let dropped = drop_oldest(&mut talk, 60, 80, &mut count).unwrap();
        assert_eq!(dropped.what, ["turn 1, \"first question\": 34 tokens", "turn 2, \"second\": 26 tokens"]);
        assert_eq!(count(&talk).unwrap(), 39);
        assert_eq!(talk.messages().len(), 7, "the record is whole");
        assert_eq!(drop_oldest(&mut talk, 60, 80, &mut count).unwrap(), Dropped::default());
    }

    #[test]
    fn thoughts_go_first() {
        let mut talk = Conversation::default();
        talk.ask("q");
        talk.push(Message::new("assistant", "call").with("reasoning_content", "t".repeat(50).into()));
        talk.push(Message::new("tool", "5"));
        let dropped = drop_oldest(&mut talk, 20, 30, &mut count).unwrap();
        assert_eq!(dropped.what, ["the thoughts of the last turn: 50 tokens"]);
    }

    #[test]
    fn what_cannot_be_made_to_fit_is_refused_and_unchanged() {
        let (mut found, before) = (talk(), talk());
        let error = drop_oldest(&mut found, 10, 14, &mut count).unwrap_err().to_string();
        assert!(error.contains("14 tokens, the context 14"), "{error}");
        assert_eq!(found, before);
    }

    #[test]
    fn the_answer_has_a_share() {
        assert_eq!(room(8192, None), 6144);
        assert_eq!(room(8192, Some(100)), 8092);
        assert_eq!(room(8192, Some(9000)), 6144);
        assert_eq!(room(1, None), 0);
    }

    #[test]
    fn long_questions_are_cut() {
        assert_eq!(excerpt("a  b\nc"), "a b c");
        assert_eq!(excerpt(&"é".repeat(50)).chars().count(), 41);
    }
}
