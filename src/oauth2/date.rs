//! HTTP dates (RFC 9110 §5.6.7): the server's `Date`, and a `Retry-After` that is one.
//!
//! The three forms that a recipient must read have the same words in two orders, so one reader does for them all. A library
//! brings 8 KB to a small binary, for it also writes dates and panics about them; it is the oracle of the tests.

use std::time::Duration;

const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";

/// An HTTP date as the time since 1970-01-01 00:00 UTC; `None` if it is not a date, or before that.
///
/// ```text
/// Sun, 06 Nov 1994 08:49:37 GMT    as of today
/// Sunday, 06-Nov-94 08:49:37 GMT   RFC 850; a year of two digits is one from 1970 to 2069
/// Sun Nov  6 08:49:37 1994         asctime
/// ```
///
/// The name of the day is not looked at: it says nothing that the rest does not.
pub(crate) fn since_1970(date: &str) -> Option<Duration> {
    let mut words = [b"".as_slice(); 8];
    let mut places = words.iter_mut();
    // As bytes: to split a text by several characters brings another reader of characters with it.
    for word in date.as_bytes().split(|byte| b" ,-:".contains(byte)).filter(|word| !word.is_empty()) {
        *places.next()? = word;
    }
    // The first is the name of the day. What is not in its place is no number, or no month.
    let (day, month, year, [hour, minute, second]) = match &words {
        [_, day, month, year, time @ .., b"GMT"] => (day, month, year, time),
        [_, month, day, time @ .., year, b""] => (day, month, year, time),
        _ => return None,
    };
    let month = MONTHS.as_bytes().chunks(3).position(|name| name == *month)? as u64;
    let day = number(day, 31).filter(|day| *day > 0)?;
    let year = match (year.len(), number(year, 9999)?) {
        (2, year @ 70..) => 1900 + year,
        (2, year) => 2000 + year,
        (4, year @ 1970..) => year,
        _ => return None,
    };
    // 60 is a leap second.
    let (hour, minute, second) = (number(hour, 23)?, number(minute, 59)?, number(second, 60)?);
    Some(Duration::from_secs(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second))
}

/// At most four digits, and no more than `most`.
fn number(digits: &[u8], most: u64) -> Option<u64> {
    if digits.len() > 4 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        number = 10 * number + u64::from(char::from(*digit).to_digit(10)?);
    }
    (number <= most).then_some(number)
}

/// From 1970-01-01 to a day of a year from 1970 on, in the Gregorian calendar. `month` counts from 0.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // The year begins in March, so that its odd day is its last, and months of 31 and 30 days come in one rhythm.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let before_1970 = 719_469;
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - before_1970
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn oracle(date: &str) -> Option<Duration> {
        httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()
    }

    #[test]
    fn the_three_forms_of_rfc_9110() {
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(since_1970(date), Some(Duration::from_secs(784_111_777)), "{date}");
        }
    }

    #[test]
    fn days_are_what_the_library_says() {
        // At another time of each day; from 2106 on, of one in 37.
        let mut second = 0;
        while second < 253_402_300_800 {
            let time = UNIX_EPOCH + Duration::from_secs(second);
            let date = httpdate::fmt_http_date(time);
            assert_eq!(since_1970(&date), Some(Duration::from_secs(second)), "{date}");
            second += 7_321 + 86_400 * if second < 1 << 32 { 1 } else { 37 };
        }
    }

    #[test]
    fn what_is_no_date() {
        let dates = [
            "",
            "GMT",
            "120",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 anF 1994 08:49:37 GMT",
            "Sun, 06 JanFeb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 0094 08:49:37 GMT",
            "Sun, 06 Nov 10000 08:49:37 GMT",
            "Sun, 06 Nov +994 08:49:37 GMT",
            "Sun, 06 Nov 994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov  6 08:49 1994",
            "Sun, 06 Nov 1994 08:49:000037 GMT",
        ];
        for date in dates {
            assert_eq!((since_1970(date), oracle(date)), (None, None), "{date}");
        }
        // A leap second, which the library does not know.
        let leap = since_1970("Sat, 31 Dec 2016 23:59:60 GMT");
        assert_eq!(leap, since_1970("Sun, 01 Jan 2017 00:00:00 GMT"));
        assert!(leap.is_some());
    }
}
