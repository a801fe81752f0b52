//! Addresses that mean the same, and some that nearly do.

use ureq::http::Uri;

use super::*;
use crate::http::origin::Origin;

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9]{0,5}",
        // A last part that is a number makes an address of the whole, and of most such hosts a wrong one.
        "[a-z0-9]{1,6}(\\.[a-z]{2,5}){1,2}",
        Just("[::1]".to_owned()),
        Just("127.0.0.1".to_owned()),
    ]
}

/// The text with some letters in upper case.
fn shouted(text: &str, upper: u64) -> String {
    let letter = |(at, c): (usize, char)| if upper >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c };
    text.chars().enumerate().map(letter).collect()
}

fn input(lines: &[&str]) -> Vec<u8> {
    lines.join("\n").into_bytes()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_address_is_of_its_origin_however_it_is_written_and_of_no_other(
        (scheme, usual) in select(vec![("https", 443), ("http", 80)]),
        host in host(),
        port in prop_oneof![Just(None), Just(Some(80)), Just(Some(443)), (1..=u16::MAX).prop_map(Some)],
        upper in any::<u64>(),
        user in select(vec!["", "user@", "a:b@"]),
        zeros in "0{0,2}",
        rest in select(vec!["", "/", "/a/b?c=d", "?c", "/@other.example", "/https://other.example"]),
    ) {
        let number = port.unwrap_or(usual);
        let origin = Origin::parse(&format!("{scheme}://{host}:{number}")).unwrap();
        let port = port.map(|port| format!(":{zeros}{port}")).unwrap_or_default();
        let written = format!("{}://{user}{}{port}{rest}", shouted(scheme, upper), shouted(&host, upper >> 7));
        let uri: Uri = written.parse().unwrap();
        prop_assert_eq!(Origin::of(&uri), Some(origin.clone()));

        let other_port = if number == 1 { 2 } else { number - 1 };
        let other_scheme = if scheme == "http" { "https" } else { "http" };
        for other in [
            format!("{scheme}://{host}:{other_port}{rest}"),
            format!("{other_scheme}://{host}:{number}{rest}"),
            format!("{scheme}://x{host}:{number}{rest}"),
            format!("{scheme}://{host}.x:{number}{rest}"),
            format!("{scheme}://{host}@other.example:{number}{rest}"),
            format!("{scheme}://other.example:{number}/{host}"),
        ] {
            let foreign = other.parse().is_ok_and(|other: Uri| Origin::of(&other) == Some(origin.clone()));
            prop_assert!(!foreign, "{} and {}", origin, other);
            address(&input(&[&origin.to_string(), &other, &written]), &YARDSTICK);
        }
    }

    #[test]
    fn a_relative_reference_stays_on_the_server(
        base in "https://a\\.example(/([.]{1,2}|[a-z;]{1,3})){0,3}/?(\\?[a-z/]{0,3})?",
        references in vec("[/.?#a-z;:@\\\\%]{0,12}", 1..5),
    ) {
        let mut lines = vec!["https://a.example", &base];
        lines.extend(references.iter().map(String::as_str));
        address(&input(&lines), &YARDSTICK);
    }
}
