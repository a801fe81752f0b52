//! Challenges that are well-formed by RFC 9110 §11.6.1, in many ways of writing them.

use super::*;
use crate::http::challenge::{Challenge, parse};

const TOKEN: &str = "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,8}";

/// A challenge's meaning: scheme, token68, parameters.
type Meaning = (String, Option<String>, Vec<(String, String)>);

/// A value, and the quoted string that means it. Some characters must be escaped, and any may be.
fn quoted() -> impl Strategy<Value = (String, String)> {
    let c = (select("ab, =\"\\/\u{e4}".chars().collect::<Vec<_>>()), prop::bool::weighted(0.2));
    vec(c, 0..8).prop_map(|characters| {
        let value = characters.iter().map(|(c, _)| *c).collect();
        let escaped = |(c, escape): &(char, bool)| {
            if *escape || matches!(c, '"' | '\\') { format!("\\{c}") } else { c.to_string() }
        };
        (value, format!("\"{}\"", characters.iter().map(escaped).collect::<String>()))
    })
}

fn param() -> impl Strategy<Value = (String, String, String)> {
    let value = prop_oneof![quoted(), TOKEN.prop_map(|value| (value.clone(), value))];
    (TOKEN, select(vec!["=", " =", "= ", "\t=  "]), value)
        .prop_map(|(name, equals, (value, written))| (name.clone(), value, format!("{name}{equals}{written}")))
}

fn well_formed() -> impl Strategy<Value = (Meaning, String)> {
    let comma = select(vec![",", ", ", " ,\t", ",, ,"]);
    let rest = prop_oneof![
        Just((None, Vec::new(), String::new())),
        (" {1,2}", "[a-zA-Z0-9._~+/-]{1,12}={0,2}").prop_map(|(blanks, token68)| (
            Some(token68.clone()),
            Vec::new(),
            blanks + &token68
        )),
        vec((comma, param()), 1..5).prop_map(|params| {
            let mut written = String::new();
            for (comma, (_, _, param)) in &params {
                written.push_str(if written.is_empty() { " " } else { comma });
                written.push_str(param);
            }
            (None, params.into_iter().map(|(_, (name, value, _))| (name, value)).collect(), written)
        }),
    ];
    (TOKEN, rest).prop_map(|(scheme, (token68, params, written))| {
        let written = scheme.clone() + &written;
        ((scheme, token68, params), written)
    })
}

fn meanings(text: &str) -> Vec<Meaning> {
    let meaning = |c: Challenge<'_>| {
        let params = c.params.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned()));
        (c.scheme.to_owned(), c.token68.map(str::to_owned), params.collect())
    };
    parse(text).into_iter().map(meaning).collect()
}

fn invalid_token() -> Meaning {
    ("Bearer".to_owned(), None, vec![("error".to_owned(), "invalid_token".to_owned())])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn well_formed_challenges_come_out_as_they_went_in(
        begin in select(vec!["", " ", ", ", ",,\t"]),
        list in vec((well_formed(), select(vec![",", ", ", " , ,"])), 1..5),
    ) {
        let mut text = begin.to_owned();
        for ((_, written), comma) in &list {
            text = text + written + comma;
        }
        let expected: Vec<Meaning> = list.into_iter().map(|((meaning, _), _)| meaning).collect();
        prop_assert_eq!(meanings(&text), expected, "{}", text);
        challenge(text.as_bytes(), &YARDSTICK);
    }

    #[test]
    fn what_cannot_be_read_does_not_hide_what_comes_after_it(
        rubbish in "[aB1 \t,=\\\\;:/+~._!\u{e4}\u{20ac}\0\u{7f}\r-]{0,30}",
    ) {
        let text = rubbish + ", Bearer error=\"invalid_token\"";
        prop_assert_eq!(meanings(&text).pop(), Some(invalid_token()), "{}", text);
    }

    #[test]
    fn a_comma_inside_of_quotes_does_not_end_what_cannot_be_read((_, quoted) in quoted()) {
        let text = format!("({quoted}, Bearer error=invalid_token");
        prop_assert_eq!(meanings(&text), [invalid_token()], "{}", text);
    }
}
