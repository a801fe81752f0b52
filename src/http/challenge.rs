//! `WWW-Authenticate`: what a server says with its 401 (RFC 9110 §11.6.1), and whether a new token would help
//! (RFC 6750 §3).

use std::borrow::Cow;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Challenge<'a> {
    /// The scheme as it was sent; compare it without case.
    pub scheme: &'a str,
    /// The single value of schemes such as `Negotiate`.
    pub token68: Option<&'a str>,
    /// The parameters, in order: the name as it was sent (compare it without case), the value without its quotes.
    pub params: Vec<(&'a str, Cow<'a, str>)>,
}

impl Challenge<'_> {
    /// The first parameter of this name, compared without case.
    pub fn param(&self, name: &str) -> Option<&str> {
        let (_, value) = self.params.iter().find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Is it of this scheme, compared without case?
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }
}

/// The challenges in one header value; a header that is sent several times is parsed line by line.
///
/// What cannot be read is skipped up to the next comma: the rest may still be readable. Never panics, and takes memory in
/// proportion to the text at most.
///
/// ```
/// let challenges = ureq_auth::challenge::parse(r#"Basic realm="a, b", Bearer error="invalid_token""#);
/// assert_eq!(challenges[1].param("error"), Some("invalid_token"));
/// ```
pub fn parse(value: &str) -> Vec<Challenge<'_>> {
    let mut challenges: Vec<Challenge<'_>> = Vec::new();
    each(value, &mut |item| match item {
        Item::Challenge { scheme, token68 } => challenges.push(Challenge { scheme, token68, params: Vec::new() }),
        Item::Param(name, value) => {
            if let Some(challenge) = challenges.last_mut() {
                challenge.params.push((name, value));
            }
        }
    });
    challenges
}

/// What a header value consists of.
enum Item<'a> {
    Challenge {
        scheme: &'a str,
        token68: Option<&'a str>,
    },
    /// Of the challenge before it.
    Param(&'a str, Cow<'a, str>),
}

/// Visits all that can be read, in order.
fn each<'a>(value: &'a str, visit: &mut dyn FnMut(Item<'a>)) {
    let mut text = Text(value);
    loop {
        text.skip(|c| c == b',' || is_blank(c));
        if text.0.is_empty() {
            return;
        }
        let Some(word) = text.token() else {
            text.skip_element();
            continue;
        };
        // `word =` is a parameter of the challenge before it; anything else begins a new challenge. RFC 9110 allows
        // blanks around the "=", so only what follows them tells.
        if let Some(value) = text.param_value() {
            visit(Item::Param(word, value));
            continue;
        }
        let token68 = if text.blanks() { text.token68() } else { None };
        visit(Item::Challenge { scheme: word, token68 });
        // After a scheme comes its first parameter, without a comma, or the end of the element.
        if !text.at_param() {
            text.skip_element();
        }
    }
}

/// What a token got by a refresh will not help against (RFC 6750 §3.1; RFC 9470 §3: the user is to log in anew, in person).
#[cfg(feature = "ureq")]
const NOT_THE_TOKENS: &str = "insufficient_scope invalid_request insufficient_user_authentication";

/// Would a new token help against a 401 that came with these headers, on a request that carried ours?
///
/// No header at all, or one that cannot be read, says nothing against it. A challenge of our `own` scheme does unless it names
/// another reason. Only challenges of other schemes: somebody else's business.
#[cfg(feature = "ureq")]
pub(crate) fn blames_token<'a>(own: &str, values: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut challenges, mut verdict) = (0, None);
    for value in values {
        // A description may be in any charset; what counts is ASCII.
        let value = String::from_utf8_lossy(value);
        let mut is_ours = false;
        each(&value, &mut |item| match item {
            Item::Challenge { scheme, .. } => {
                challenges += 1;
                is_ours = verdict.is_none() && scheme.eq_ignore_ascii_case(own);
                if is_ours {
                    verdict = Some(true);
                }
            }
            Item::Param(name, error) if is_ours && name.eq_ignore_ascii_case("error") => {
                verdict = Some(!NOT_THE_TOKENS.split(' ').any(|known| known == error));
                // The first one counts.
                is_ours = false;
            }
            Item::Param(..) => {}
        });
    }
    verdict.unwrap_or(challenges == 0)
}

/// What is left to read.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Takes all bytes that fit. What does not fit is ASCII or begins a character, so that none is cut.
    fn take(&mut self, fits: fn(u8) -> bool) -> &'a str {
        let end = self.0.bytes().position(|byte| !fits(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        taken
    }

    fn skip(&mut self, fits: fn(u8) -> bool) {
        self.take(fits);
    }

    fn blanks(&mut self) -> bool {
        !self.take(is_blank).is_empty()
    }

    /// `token` of RFC 9110 §5.6.2.
    fn token(&mut self) -> Option<&'a str> {
        Some(self.take(is_token)).filter(|token| !token.is_empty())
    }

    /// `BWS "=" BWS ( token / quoted-string )`, or nothing taken.
    fn param_value(&mut self) -> Option<Cow<'a, str>> {
        let mut ahead = Text(self.0);
        ahead.blanks();
        ahead.0 = ahead.0.strip_prefix('=')?;
        ahead.blanks();
        let value = match ahead.0.strip_prefix('"') {
            Some(quoted) => {
                ahead.0 = quoted;
                ahead.quoted()
            }
            // A bare value should be a token; servers send more, such as unquoted addresses.
            None => Cow::Borrowed(ahead.take(|c| c != b',' && !is_blank(c))),
        };
        self.0 = ahead.0;
        Some(value)
    }

    /// The inside of a quoted string (RFC 9110 §5.6.4) and its closing quote; one that is not closed ends with the text.
    fn quoted(&mut self) -> Cow<'a, str> {
        let plain = self.take(|c| c != b'"' && c != b'\\');
        if let Some(rest) = self.0.strip_prefix('"') {
            self.0 = rest;
            return Cow::Borrowed(plain);
        }
        let mut value = String::from(plain);
        let mut rest = self.0.chars();
        while let Some(c) = rest.next() {
            match c {
                '"' => break,
                '\\' => value.extend(rest.next()),
                c => value.push(c),
            }
        }
        self.0 = rest.as_str();
        Cow::Owned(value)
    }

    /// `token68` of RFC 9110 §11.2, if that is what stands before the next comma; else nothing is taken.
    fn token68(&mut self) -> Option<&'a str> {
        let mut ahead = Text(self.0);
        let body = ahead.take(|c| c.is_ascii_alphanumeric() || b"-._~+/".contains(&c));
        let padding = ahead.take(|c| c == b'=');
        ahead.blanks();
        if body.is_empty() || !(ahead.0.is_empty() || ahead.0.starts_with(',')) {
            return None;
        }
        let token68 = self.0.get(..body.len() + padding.len());
        self.0 = ahead.0;
        token68
    }

    fn at_param(&self) -> bool {
        let mut ahead = Text(self.0);
        ahead.token().is_some() && ahead.param_value().is_some()
    }

    /// Skips to the next comma outside of quotes.
    fn skip_element(&mut self) {
        loop {
            self.skip(|c| c != b',' && c != b'"');
            let Some(rest) = self.0.strip_prefix('"') else { return };
            self.0 = rest;
            self.quoted();
        }
    }
}

fn is_blank(c: u8) -> bool {
    c == b' ' || c == b'\t'
}

fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let show = |c: &Challenge<'_>| {
            let params: Vec<String> = c.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}[{}]({})", c.scheme, c.token68.unwrap_or(""), params.join(";"))
        };
        parse(value).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_of_challenges_in_one_line() {
        assert_eq!(shown("Bearer"), "Bearer[]()");
        assert_eq!(
            shown("Basic realm=\"a, \\\"b\\\"\", Bearer x=1, y = \"2\""),
            "Basic[](realm=a, \"b\") Bearer[](x=1;y=2)"
        );
        assert_eq!(
            shown("Negotiate abc==, Bearer error=invalid_token"),
            "Negotiate[abc==]() Bearer[](error=invalid_token)"
        );
        assert_eq!(shown("Negotiate, , NTLM"), "Negotiate[]() NTLM[]()");
        assert_eq!(
            shown("Newauth realm=\"apps\", type=1, title=\"x\", Basic realm=\"simple\"").matches('[').count(),
            2
        );
    }

    #[test]
    fn what_cannot_be_read_is_skipped() {
        assert_eq!(shown(""), "");
        assert_eq!(shown("=x, \"a, b\", Bearer a=\"open"), "Bearer[](a=open)");
        assert_eq!(
            shown("Bearer realm=\"x\" trailing rubbish, Basic y=1"),
            "Bearer[](realm=x) trailing[rubbish]() Basic[](y=1)"
        );
        assert_eq!(shown("Bearer a=\"\\"), "Bearer[](a=)");
        assert_eq!(shown("Bearer url=https://a/b?c=d"), "Bearer[](url=https://a/b?c=d)");
        assert_eq!(shown("ü, Bearer a=\"ü\""), "Bearer[](a=ü)");
        assert_eq!(shown("a/b"), "a[]()", "and b has no blank before it");
    }

    #[cfg(feature = "ureq")]
    #[test]
    fn all_lines_together_say_whether_the_token_is_to_blame() {
        let blames = |lines: &[&str]| blames_token("Bearer", lines.iter().map(|line| line.as_bytes()));
        assert!(blames(&[]), "no header says nothing against it");
        assert!(blames(&["Bearer"]));
        assert!(blames(&["bearer ERROR=\"invalid_token\""]));
        assert!(blames(&["Basic realm=x", "Bearer realm=x"]));
        assert!(blames(&["Basic realm=x, Bearer error=\"expired\""]));
        assert!(blames(&["\u{1}"]));
        let latin = b"Bearer error_description=\"expir\xe9\", error=\"insufficient_scope\"";
        assert!(!blames_token("Bearer", [&latin[..]].into_iter()), "a description in Latin-1 hides nothing");
        assert!(!blames(&["Bearer error=\"insufficient_scope\", scope=\"a b\""]));
        assert!(!blames(&["Basic realm=x"]));
        assert!(!blames(&["Negotiate abc", "NTLM"]));
    }
}
