//! The page in the documentation, and whether it is what the data, the lines and the tests say.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::data::{Provider, Then};

const PAGE: &str = "docs/providers.md";
const REWRITE: &str = "UPDATE_PROVIDERS";
const LINES: &str = include_str!("lines.rs");
const CODES: &str = include_str!("codes.rs");

/// Compares the page with what it should be between each pair of lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`, or
/// writes it there.
pub(super) fn compare(providers: &[Provider]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let written = fs::read_to_string(&path).unwrap();
    let page = put(&written, "overview", &overview(providers));
    let page = put(&page, "DeadLogin", &rust(&piece(CODES, "DeadLogin")));
    let page = put(&page, "refusal", &rust(&piece(CODES, "refusal")));
    let page = put(&page, "providers", &providers.iter().map(section).collect::<String>());
    if env::var_os(REWRITE).is_some() {
        fs::write(&path, &page).unwrap();
        return;
    }
    let other = |own: &str, other: &str, mark: char| -> String {
        let lines = own.lines().filter(|line| !other.lines().any(|line_there| line_there == *line));
        lines.fold(String::new(), |text, line| text + &format!("{mark} {line}\n"))
    };
    assert!(
        page == written,
        "{PAGE} is not what the tests say ({REWRITE}=1 writes it anew):\n{}{}",
        other(&written, &page, '-'),
        other(&page, &written, '+'),
    );
}

/// What `codes.rs` has under this name, as a program of one file has it.
pub(super) fn piece(text: &str, name: &str) -> String {
    let [begin, end] = ["begin", "end"].map(|which| format!("// {name}: {which}\n"));
    let (_, rest) = text.split_once(&begin).unwrap();
    rest.split_once(&end).unwrap().0.replace("pub(super) ", "")
}

fn put(page: &str, name: &str, text: &str) -> String {
    let [begin, end] = ["begin", "end"].map(|which| format!("<!-- {name}: {which} -->\n"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("the page has no place for {name}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("the page has no end of {name}"));
    [before, &begin, text, &end, after].concat()
}

fn overview(providers: &[Provider]) -> String {
    const HEAD: [&str; 6] =
        ["provider", "access token lives", "new refresh token", "secret in", "a dead login is told by", "needs"];
    const NEEDS: [&str; 7] =
        ["DeadLogin", "refusal(", "token_type", "with_scope", "param", "user_agent", "with_stale_window"];

    let mut text = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for provider in providers {
        let name = provider.text("name");
        let refusal = &provider.refusals()[0];
        assert_eq!(refusal.then() == Then::Final, provider.key != "apigee", "{name}: the first one is a dead login's");
        let short = name.split(" (").next().unwrap();
        let (lives, renews) = (provider.text("lives"), provider.text("renews"));
        let secret = if provider.is_basic() { "header" } else { "body" };
        let told = format!("{} {}", refusal.status(), code(&refusal.body()));
        let lines = lines(provider.key);
        let needs = NEEDS.into_iter().filter(|needed| lines.contains(needed));
        let needs: Vec<_> = needs.map(|needed| format!("`{}`", needed.trim_end_matches('('))).collect();
        let needs = if needs.is_empty() { "–".to_owned() } else { needs.join(", ") };
        writeln!(text, "| [{short}](#{}) | {lives} | {renews} | {secret} | {told} | {needs} |", anchor(name)).unwrap();
    }
    text
}

/// The code of a refusal, if it is where RFC 6749 §5.2 has it.
fn code(body: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    json["error"].as_str().map_or_else(|| "without a code".to_owned(), |code| format!("`{code}`"))
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn section(provider: &Provider) -> String {
    let mut text = format!("### {}\n\n{}\n", provider.text("name"), rust(&lines(provider.key)));
    for note in provider.texts("notes") {
        writeln!(text, "- {note}").unwrap();
    }
    text.push_str("\n| what is wrong | status | body | what the session does |\n|---|---|---|---|\n");
    for refusal in provider.refusals() {
        let body = refusal.body().replace('|', "\\|");
        let then = match refusal.then() {
            Then::Final => "`Rejected`: nothing more is sent until a new login",
            Then::Refused => "`Unavailable`: tries again with backoff",
            Then::Misconfigured => "`Misconfigured`: tries again at the backoff's limit",
            Then::Later => "`Unavailable`: tries again in the same refresh, then with backoff",
        };
        writeln!(text, "| {} | {} | `{body}` | {then} |", refusal.of(), refusal.status()).unwrap();
    }
    let sources: Vec<_> = provider.texts("sources").into_iter().map(linked).collect();
    writeln!(text, "\nSources: {}.\n", sources.join("; ")).unwrap();
    text
}

/// `owner/repository#number` as a link.
fn linked(source: &str) -> String {
    match source.split_once('#') {
        Some((repository, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("[{source}](https://github.com/{repository}/issues/{number})")
        }
        _ => source.to_owned(),
    }
}

fn rust(lines: &str) -> String {
    format!("```rust\n{lines}```\n")
}

/// What is between the head of a provider's function and its last line, which builds the session.
fn lines(key: &str) -> String {
    let name = if key == "box" { "box_com" } else { key };
    let (_, rest) = LINES.split_once(&format!("\nfn {name}(")).unwrap_or_else(|| panic!("no lines of {key}"));
    let (_, rest) = rest.split_once("{\n").unwrap();
    let body = rest.split_once("    Session::builder(source)").unwrap().0;
    body.lines().fold(String::new(), |text, line| text + line.strip_prefix("    ").unwrap() + "\n")
}
