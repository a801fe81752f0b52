//! What of a server's text an error may quote: nothing that steers a terminal, no secret, and nothing that looks like one.

const REDACTED: &str = "[redacted]";

/// So many letters and digits that make no words, with no blank between them, are a token.
const TOKEN: usize = 13;

/// A server's text, fit for an error: only what is [`readable`], not longer than `limit`, and in the place of a token or of one
/// of the `secrets` a mark. None if nothing is left.
pub(super) fn quote(text: &str, limit: usize, secrets: &[&str]) -> Option<String> {
    let mut quoted = String::new();
    let mut rest = text;
    // Where a token begins, and where it or all up to the next blank ends, both counted from the text's end.
    let (mut begin, mut looked_at) = (0, text.len());
    // One pass for all of them, so that one is never searched for in another's place; the longest that fits goes.
    while let Some((end, c)) = readable(rest).next() {
        if rest.len() <= looked_at {
            (begin, looked_at) = find_token(rest);
        }
        let mut hidden = 0;
        if !c.is_ascii_whitespace() {
            hidden = secrets.iter().map(|secret| reads_as(rest, secret)).max().unwrap_or(0);
            if (looked_at..begin).contains(&(rest.len() - end)) {
                hidden = hidden.max(rest.len() - looked_at);
            }
        }
        let mut buffer = [0; 4];
        let piece = match c {
            _ if hidden > 0 => REDACTED,
            // A line break between two words must not make one word of them.
            '\n' => " ",
            c => c.encode_utf8(&mut buffer),
        };
        if quoted.len() + piece.len() > limit {
            break;
        }
        // Blanks in front are not shown: so many of them must not hide what comes after.
        if piece != " " || !quoted.is_empty() {
            quoted.push_str(piece);
        }
        rest = rest.get(hidden.max(end)..)?;
    }
    Some(quoted.trim_ascii()).filter(|quoted| !quoted.is_empty()).map(str::to_owned)
}

/// What of a text may be in an error (RFC 6749 §5.2: ASCII without controls, `"` and `\`), each with the place of its end.
/// Whatever else is blank becomes a line break.
fn readable(text: &str) -> impl Iterator<Item = (usize, char)> {
    text.char_indices().filter_map(|(at, c)| match c {
        ' ' | '!' | '#'..='[' | ']'..='~' => Some((at + 1, c)),
        c if c.is_whitespace() => Some((at + c.len_utf8(), '\n')),
        _ => None,
    })
}

/// How far `text` begins like `secret`, zero if it does not. What is compared is what can be read of both but the blanks: a
/// server may wrap, indent or escape what it echoes, and what is left out must not put the secret together again.
fn reads_as(text: &str, secret: &str) -> usize {
    let is_dense = |(_, c): &(usize, char)| !c.is_ascii_whitespace();
    let mut text = readable(text).filter(is_dense);
    let mut end = 0;
    for (_, wanted) in readable(secret).filter(is_dense) {
        match text.next() {
            Some((after, c)) if c == wanted => end = after,
            _ => return 0,
        }
    }
    end
}

/// Looks for a token before the next blank; a line break does not count as one, because tokens are wrapped. What stands before the first part
/// that is no word may be shown, as in `access_token=` or `gho_`, and so may the comma after it.
///
/// Returns where it begins and ends, counted from the text's end; zero and where the blank is, if it finds no token.
fn find_token(text: &str) -> (usize, usize) {
    let (mut begin, mut end, mut blank, mut odd) = (0, 0, 0, 0);
    let mut word = Word::default();
    for (after, c) in readable(text).chain([(text.len(), ' ')]) {
        if c.is_ascii_alphanumeric() {
            word.push(after, c);
        } else {
            if word.is_odd() {
                if odd == 0 {
                    begin = word.begin;
                }
                odd += word.length;
            }
            word = Word::default();
        }
        if c == ' ' {
            break;
        }
        blank = after;
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '~' | '+' | '/' | '=') {
            end = after;
        }
    }
    if odd < TOKEN { (0, text.len() - blank) } else { (text.len() - begin, text.len() - end) }
}

/// Letters and digits in a row.
#[derive(Default)]
struct Word {
    begin: usize,
    length: usize,
    digits: usize,
    capitals: usize,
    /// How often a small letter is followed by a capital.
    humps: usize,
    /// How often a letter is followed by a digit, or a digit by a letter.
    seams: usize,
    last: char,
}

impl Word {
    fn push(&mut self, end: usize, c: char) {
        if self.length == 0 {
            self.begin = end - 1;
        } else if self.last.is_ascii_digit() != c.is_ascii_digit() {
            self.seams += 1;
        } else if self.last.is_ascii_lowercase() && c.is_ascii_uppercase() {
            self.humps += 1;
        }
        self.length += 1;
        self.digits += usize::from(c.is_ascii_digit());
        self.capitals += usize::from(c.is_ascii_uppercase());
        self.last = c;
    }

    /// Is it neither a word nor a name, such as `AADSTS70008`, `OAuth2AuthenticationException`, `HTTPRequest` or `2024`?
    fn is_odd(&self) -> bool {
        if self.digits == self.length {
            return self.length > 13;
        }
        let is_shaken = self.humps > 0 && 3 * self.capitals > self.length;
        let is_code = self.seams <= 1 && self.length <= 16;
        is_shaken || (!is_code && 4 * (2 * self.seams + self.humps) > self.length)
    }
}
