//! `strftime_now`: a moment in UTC, printed by the directives that chat templates use.

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A day of the Gregorian calendar.
struct Date {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// 1 to 366.
    of_year: i64,
}

impl Date {
    /// The date `days` after 1 January 1970.
    fn from_days(days: i64) -> Self {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        // The calendar repeats every 400 years of 146,097 days.
        let (cycle, mut rest) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let mut year = 1970 + 400 * cycle;
        while rest >= 365 + i64::from(leap(year)) {
            rest -= 365 + i64::from(leap(year));
            year += 1;
        }
        let of_year = rest + 1;
        let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 1;
        for length in lengths {
            if rest < length {
                break;
            }
            rest -= length;
            month += 1;
        }
        Self { year, month, day: rest + 1, of_year }
    }
}

/// `datetime.strftime(format)` of `now`, seconds since 1970 in UTC.
pub(super) fn strftime(now: i64, format: &str) -> Result<String, Error> {
    let (days, seconds) = (now.div_euclid(86_400), now.rem_euclid(86_400));
    let date = Date::from_days(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let weekday = DAYS[(days + 4).rem_euclid(7) as usize];
    let month = MONTHS[(date.month - 1) as usize];
    let hour12 = (hour + 11) % 12 + 1;
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let padded = directive != Some('-');
        if !padded {
            directive = chars.next();
        }
        let mut number = |value: i64, width: usize| {
            out.push_str(&if padded { format!("{value:0width$}") } else { value.to_string() });
        };
        match directive {
            Some('Y') => number(date.year, 4),
            Some('y') => number(date.year.rem_euclid(100), 2),
            Some('m') => number(date.month, 2),
            Some('d') => number(date.day, 2),
            Some('j') => number(date.of_year, 3),
            Some('H') => number(hour, 2),
            Some('I') => number(hour12, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('B') => out.push_str(month),
            Some('b') => out.push_str(&month[..3]),
            Some('A') => out.push_str(weekday),
            Some('a') => out.push_str(&weekday[..3]),
            Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('%') => out.push('%'),
            other => {
                let shown = other.map_or_else(String::new, String::from);
                let message = format!("strftime_now: the directive %{shown} is not supported");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let cases = [
            (0, "Thursday Thu 01 January Jan 1970 00:00:00 12 AM 001 1 70 %"),
            (951_782_400, "Tuesday Tue 29 February Feb 2000 00:00:00 12 AM 060 29 00 %"),
            (1_735_689_599, "Tuesday Tue 31 December Dec 2024 23:59:59 11 PM 366 31 24 %"),
            (-1, "Wednesday Wed 31 December Dec 1969 23:59:59 11 PM 365 31 69 %"),
        ];
        for (now, want) in cases {
            assert_eq!(strftime(now, "%A %a %d %B %b %Y %H:%M:%S %I %p %j %-d %y %%").unwrap(), want);
        }
        assert!(strftime(0, "%Q").is_err());
        assert!(strftime(0, "%").is_err());
    }
}
