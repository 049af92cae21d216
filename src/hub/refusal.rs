//! What it means when the hub will not, in words that say what to do.

use crate::error::Error;

/// An answer that is no file.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The hub's word for it: `GatedRepo`, `RepoNotFound`, `RevisionNotFound`, `EntryNotFound`.
    pub(super) code: Option<String>,
    /// The hub's sentence for it.
    pub(super) message: Option<String>,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) endpoint: String,
    pub(super) repo: String,
    pub(super) revision: String,
    /// Whether a token was sent along.
    pub(super) token: bool,
}

impl Asked {
    /// The error for a refusal.
    pub(super) fn refused(&self, refusal: &Refusal) -> Error {
        let Asked { endpoint, repo, revision, token } = self;
        let (status, code) = (refusal.status, refusal.code.as_deref().unwrap_or_default());
        let how = format!("make a token at {endpoint}/settings/tokens and give it in HF_TOKEN or with --hf-token");
        let text = match (status, code, *token) {
            (401 | 403, "GatedRepo", false) => {
                format!("is gated ({status}): accept its terms at {endpoint}/{repo}, {how}")
            }
            (401 | 403, "GatedRepo", true) => format!(
                "is gated ({status}) and the token has no access: accept its terms at {endpoint}/{repo} with the account \
                 that the token is of, and see that the token may read gated repositories"
            ),
            (401, _, false) => {
                format!("there is no such repository, or it is private (401): check the name; if it is private, {how}")
            }
            (401, ..) => format!("the hub refuses the token (401): it is wrong or expired; {how}, or unset it"),
            (403, ..) => format!("is not open to this account (403): see {endpoint}/{repo}"),
            (404, "RevisionNotFound", _) => format!("has no branch, tag or commit {revision:?} (404)"),
            (404, "EntryNotFound", _) => "has no such file any more (404): give the command again".to_owned(),
            (404, ..) => "there is no such repository (404): check the name".to_owned(),
            _ => format!("the hub answers {status}"),
        };
        let said = refusal.message.as_deref().filter(|_| !matches!(status, 401 | 404)).map(plain).unwrap_or_default();
        Error::runtime(format!("{repo}: {text}{said}"))
    }
}

/// The hub's own words, as text that a terminal can show.
fn plain(message: &str) -> String {
    let text: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    format!(" (the hub says: {text})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_to_do() {
        let said = |status, code: Option<&str>, token| {
            let asked =
                Asked { endpoint: "https://hub".into(), repo: "us/repo".into(), revision: "main".into(), token };
            let message = Some("a\u{1b}[31m".to_owned());
            asked.refused(&Refusal { status, code: code.map(str::to_owned), message }).to_string()
        };
        assert!(said(403, Some("GatedRepo"), false).contains("accept its terms at https://hub/us/repo, make a token"));
        assert!(said(403, Some("GatedRepo"), true).contains("the token has no access"));
        assert!(said(401, None, false).contains("or it is private"));
        assert!(said(401, None, true).contains("refuses the token"));
        assert!(said(404, None, false).contains("no such repository"));
        assert!(said(404, Some("RevisionNotFound"), false).contains("\"main\""));
        assert!(said(418, None, false).contains("418 (the hub says: a[31m)"));
    }
}
