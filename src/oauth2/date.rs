//! HTTP dates (RFC 9110 §5.6.7), in the one form that may still be sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
//!
//! The two obsolete forms, which §5.6.7 would have recipients read, are not: a `Date` or a `Retry-After` in one of them
//! counts as not sent. That costs a hint about time and nothing more; a reader for all three weighs 5 KB in a small binary.

use std::time::Duration;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The time since 1970-01-01 00:00 UTC. The name of the day says nothing new, and is not looked at.
pub(super) fn since_1970(date: &str) -> Option<Duration> {
    let (_, date) = date.as_bytes().split_at_checked(5)?;
    let [d1, d0, b' ', m2, m1, m0, b' ', y3, y2, y1, y0, b' ', time @ ..] = date else { return None };
    let [h1, h0, b':', n1, n0, b':', s1, s0, b' ', b'G', b'M', b'T'] = time else { return None };
    let month = MONTHS.iter().position(|month| **month == [*m2, *m1, *m0])? as u32 + 1;
    let (year, day) = (number(&[*y3, *y2, *y1, *y0])?, number(&[*d1, *d0])?);
    let (hour, minute, second) = (number(&[*h1, *h0])?, number(&[*n1, *n0])?, number(&[*s1, *s0])?);
    // 60 is a leap second.
    if year < 1970 || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin in March have the leap day at their end; from there on the months repeat every five.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(Duration::from_secs(u64::from(days - DAYS_TO_1970) * 86_400 + u64::from(seconds)))
}

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u32 = 719_468;

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_what_they_are() {
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(since_1970(date), Some(Duration::from_secs(seconds)), "{date}");
        }
    }

    #[test]
    fn every_day_of_four_hundred_years_follows_the_one_before() {
        let leap = |year: u32| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let mut expected = Duration::ZERO;
        for year in 1970..2370 {
            for (name, length) in MONTHS.iter().zip([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                let length = if length == 28 && leap(year) { 29 } else { length };
                for day in 1..=length {
                    let date = format!("Day, {day:02} {} {year} 00:00:00 GMT", name.escape_ascii());
                    assert_eq!(since_1970(&date), Some(expected), "{date}");
                    expected += Duration::from_secs(86_400);
                }
            }
        }
    }

    #[test]
    fn what_is_no_such_date_is_none() {
        for bad in [
            "",
            "now",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sün, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(since_1970(bad), None, "{bad:?}");
        }
    }
}
