//! What the programs share.

/// A refresh token grant by plain ureq: the access token.
#[allow(dead_code, reason = "one program uses this crate's own grant instead")]
pub(crate) fn fetch(
    agent: &ureq::Agent,
    token_url: &str,
    client_id: &str,
    refresh_token: &str,
) -> Result<String, ureq::Error> {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", client_id)];
    let answer: serde_json::Value = agent.post(token_url).send_form(form)?.body_mut().read_json()?;
    Ok(answer["access_token"].as_str().unwrap_or_default().to_owned())
}

/// The arguments, which are the same for all of them.
pub(crate) fn argument(index: usize) -> Result<String, &'static str> {
    std::env::args().nth(index).ok_or("usage: PROGRAM URL TOKEN-URL CLIENT-ID REFRESH-TOKEN ORIGIN")
}
