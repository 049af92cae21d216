//! Values that may be lists: `128,256`, ranges `1-4`, `0-8+2`, `1-16*2`, and pairs `512,128`, as llama-bench takes them.

use super::Shape;

/// Most tests that one list may ask for; more is a slip of the keyboard.
const MAX_VALUES: usize = 1000;
/// Largest number of tokens or threads; far above every context length.
const MAX: usize = 1 << 24;

/// A parsed list; clap would otherwise take a `Vec` for repeated flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List(pub Vec<usize>);

/// Parses a list of numbers and ranges, separated by commas.
///
/// # Errors
/// Says which item is wrong and what is expected.
pub fn list(text: &str) -> Result<List, String> {
    let mut values = Vec::new();
    for item in text.split(',') {
        match item.split_once('-') {
            None => values.push(number(item)?),
            Some((first, rest)) => range(number(first)?, rest, &mut values)?,
        }
        if values.len() > MAX_VALUES {
            return Err(format!("'{text}' gives more than {MAX_VALUES} values"));
        }
    }
    Ok(List(values))
}

/// A list whose values are at least 1.
///
/// # Errors
/// As [`list`].
pub fn positive(text: &str) -> Result<List, String> {
    let found = list(text)?;
    if found.0.contains(&0) { Err("0 is too small, expected at least 1".to_owned()) } else { Ok(found) }
}

/// Parses `P,N`: a prompt of P tokens, then N generated ones.
///
/// # Errors
/// When it is anything but two numbers of at least 1.
pub fn pair(text: &str) -> Result<Shape, String> {
    match *list(text)?.0 {
        [n_prompt, n_gen] if n_prompt > 0 && n_gen > 0 => Ok(Shape { n_prompt, n_gen }),
        _ => Err("expected two numbers of at least 1: tokens of the prompt, tokens to generate".to_owned()),
    }
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if n <= MAX => Ok(n),
        Ok(n) => Err(format!("{n} is more than {MAX}")),
        Err(_) => {
            Err(format!("'{text}' is not a number; expected N, FIRST-LAST, FIRST-LAST+STEP or FIRST-LAST*FACTOR"))
        }
    }
}

/// The rest of a range, behind `FIRST-`.
fn range(first: usize, rest: &str, values: &mut Vec<usize>) -> Result<(), String> {
    let (last, next): (usize, Box<dyn Fn(usize) -> usize>) = if let Some((last, step)) = rest.split_once('+') {
        let step = number(step)?;
        (number(last)?, Box::new(move |n| n + step))
    } else if let Some((last, factor)) = rest.split_once('*') {
        let factor = number(factor)?;
        (number(last)?, Box::new(move |n| n.saturating_mul(factor)))
    } else {
        (number(rest)?, Box::new(|n| n + 1))
    };
    if first > last {
        return Err(format!("the range {first}-{rest} ends before it begins"));
    }
    let mut at = first;
    while at <= last && values.len() <= MAX_VALUES {
        values.push(at);
        let after = next(at);
        if after <= at {
            return Err(format!("the range {first}-{rest} does not grow"));
        }
        at = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges() {
        let values = |text: &str| list(text).unwrap().0;
        assert_eq!(values("512"), [512]);
        assert_eq!(values("16,0,32"), [16, 0, 32]);
        assert_eq!(values("1-4"), [1, 2, 3, 4]);
        assert_eq!(values("0-8+4,1-9*2"), [0, 4, 8, 1, 2, 4, 8]);
        assert_eq!(values("3-3"), [3]);
    }

    #[test]
    fn slips_are_refused() {
        for text in
            ["", "a", "1,", "-1", "4-1", "1-4+0", "0-4*2", "1-4*1", "0-9999999", "1-2-3", "99999999999999999999"]
        {
            let refused = list(text).unwrap_err();
            assert!(!refused.is_empty(), "{text}");
        }
        assert!(positive("4,0").is_err() && positive("4,8").is_ok());
        assert_eq!(pair("512,128").unwrap(), Shape { n_prompt: 512, n_gen: 128 });
        for text in ["512", "512,0", "1,2,3"] {
            assert!(pair(text).is_err(), "{text}");
        }
    }
}
